"""Token events become the contract's events."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.engine.events import EndReason, Event, Phase, ProgressEvent, TokenLogprobs, TokensEvent
from inferloom_worker.engine.protocol import GenerationStats
from inferloom_worker.output.completion import Completion
from inferloom_worker.text.tokenizer import Tokenizer
from inferloom_worker.validate.generate import Stopping

END = 256


class Recorded:
    """A generation that remembers what was aborted."""

    def __init__(self) -> None:
        self.stats = GenerationStats(cached_prompt_tokens=2, queue_s=0.5, prefill_s=0.25, decode_s=2.0)
        self.aborted: list[int | None] = []

    async def events(self) -> AsyncIterator[Sequence[Event]]:
        """None: the tests hand events over themselves."""
        return
        yield

    over = waiting = False

    def follow(self, news: Callable[[], object]) -> bool:
        """Nothing of it is followed."""
        return False

    def take(self, most: int) -> Sequence[Event]:
        """Nothing comes."""
        return ()

    def abort(self, choice: int | None = None) -> None:
        """Remember."""
        self.aborted.append(choice)


def stopping(**fields: Any) -> Stopping:
    """Stopping options with nothing set, and whatever differs."""
    values: dict[str, Any] = {
        "max_tokens": None,
        "min_tokens": 0,
        "strings": (),
        "token_ids": frozenset(),
        "ignore_eos": False,
        "include_stop": False,
    }
    return Stopping(**{**values, **fields})


@pytest.fixture
def generation() -> Recorded:
    """What the completion is of."""
    return Recorded()


def tokens(text: str | bytes, index: int = 0, choice: int = 0, **fields: Any) -> TokensEvent:
    """An event with one token per byte."""
    ids = text.encode() if isinstance(text, str) else text
    return TokensEvent(choice, index, tuple(ids), **fields)


def test_a_batch_gives_one_delta_per_choice(byte_tokenizer: Tokenizer, generation: Recorded) -> None:
    """Several events of a choice are joined, in order, with the place of the first token."""
    completion = Completion(generation, byte_tokenizer, stopping(), 3, n=2)
    first = list(completion.take([tokens("ab"), tokens("x", choice=1), tokens("c", 2)]))
    second = list(completion.take([tokens("d", 3)]))

    assert [r.delta for r in first] == [
        pb.Delta(choice=0, token_index=0, token_ids=b"abc", text="abc"),
        pb.Delta(choice=1, token_index=0, token_ids=b"x", text="x"),
    ]
    assert [r.delta for r in second] == [pb.Delta(choice=0, token_index=3, token_ids=b"d", text="d")]


def test_a_stop_string_cuts_text_and_tokens_and_aborts_the_choice(
    byte_tokenizer: Tokenizer, generation: Recorded
) -> None:
    """Tokens after the one that completed it are dropped; Finished names it; nothing follows."""
    completion = Completion(generation, byte_tokenizer, stopping(strings=("END",)), 3, n=1)
    (held,) = completion.take([tokens("one E")])
    delta, finished = completion.take([tokens("ND two", 5)])
    later = list(completion.take([tokens("more", 11, end=EndReason.LENGTH)]))

    assert (held.delta.text, delta.delta.text) == ("one ", "")
    assert bytes(delta.delta.token_ids) == b"ND"
    assert finished.finished == pb.Finished(
        choice=0, reason=pb.FINISH_REASON_STOP, stop_string="END", completion_tokens=7
    )
    assert generation.aborted == [0]
    assert later == []


def test_a_stop_string_waits_for_the_least_number_of_tokens(
    byte_tokenizer: Tokenizer, generation: Recorded
) -> None:
    """Before that it is ordinary text."""
    completion = Completion(generation, byte_tokenizer, stopping(strings=("x",), min_tokens=3), 1, n=1)
    delta, finished = completion.take([tokens("xaxb")])

    assert delta.delta.text == "xa"
    assert finished.finished.completion_tokens == 3


def test_usage_counts_the_drafts_whose_tokens_were_sent(
    byte_tokenizer: Tokenizer, generation: Recorded
) -> None:
    """Foreseen tokens after a stop string in the middle of a run are as lost as wrong ones."""
    completion = Completion(generation, byte_tokenizer, stopping(strings=("END",)), 3, n=2)
    list(completion.take([tokens("abcd", accepted=3, rejected=2)]))
    list(completion.take([tokens("xEND and more", choice=1, accepted=12)]))
    usage = completion.completed().completed.usage

    assert (usage.completion_tokens, generation.aborted) == (8, [1])
    assert (usage.accepted_draft_tokens, usage.rejected_draft_tokens) == (3 + 4, 2 + 8)


@pytest.mark.parametrize(("include", "text"), [(False, "a"), (True, "a.")])
def test_a_stop_token_is_sent_and_has_text_only_if_asked(
    include: bool, text: str, byte_tokenizer: Tokenizer, generation: Recorded
) -> None:
    """The token itself counts; its text is left out unless stops are to be included."""
    asked = stopping(token_ids=frozenset(b"."), include_stop=include)
    completion = Completion(generation, byte_tokenizer, asked, 1, n=1)
    delta, finished = completion.take([tokens("a.", end=EndReason.STOP_TOKEN)])

    assert (delta.delta.text, bytes(delta.delta.token_ids)) == (text, b"a.")
    assert finished.finished == pb.Finished(
        reason=pb.FINISH_REASON_STOP, stop_token_id=ord("."), completion_tokens=2
    )


def test_the_models_own_end_token_is_no_match(byte_tokenizer: Tokenizer, generation: Recorded) -> None:
    """Finished says STOP and nothing of what was matched."""
    completion = Completion(generation, byte_tokenizer, stopping(), 1, n=1)
    event = TokensEvent(0, 0, (97, END), None, EndReason.STOP_TOKEN)
    delta, finished = completion.take([event])

    assert delta.delta.text == "a"
    assert finished.finished.WhichOneof("matched") is None


def test_what_was_held_back_leaves_with_the_end(byte_tokenizer: Tokenizer, generation: Recorded) -> None:
    """Half a stop string and half a character are text after all when nothing follows."""
    completion = Completion(generation, byte_tokenizer, stopping(strings=("END",)), 1, n=1)
    (held,) = completion.take([tokens(b"a EN\xf0\x9f"[:4])])
    delta, finished = completion.take([tokens(b"\xf0\x9f", 4, end=EndReason.LENGTH)])

    assert held.delta.text + delta.delta.text == "a EN\ufffd"
    assert finished.finished.reason == pb.FINISH_REASON_LENGTH


def test_a_deadline_without_tokens_still_flushes(byte_tokenizer: Tokenizer, generation: Recorded) -> None:
    """The end may come with no token; text that was held back still leaves, and only that."""
    completion = Completion(generation, byte_tokenizer, stopping(strings=("END",)), 1, n=2)
    list(completion.take([tokens("E"), tokens("b", choice=1)]))
    ends = [tokens("", 1, choice=c, end=EndReason.DEADLINE) for c in (0, 1)]
    responses = list(completion.take(ends))

    assert [r.WhichOneof("event") for r in responses] == ["delta", "finished", "finished"]
    assert responses[0].delta == pb.Delta(choice=0, token_index=1, text="E")
    assert {r.finished.reason for r in responses[1:]} == {pb.FINISH_REASON_DEADLINE}


def test_logprobs_stand_beside_their_tokens(byte_tokenizer: Tokenizer, generation: Recorded) -> None:
    """One entry per token that is sent, with text, bytes and alternatives."""
    completion = Completion(generation, byte_tokenizer, stopping(strings=("b",)), 1, n=1)
    at = tuple(TokenLogprobs(-float(i), ((195, -0.5),)) for i in range(3))
    delta, _ = completion.take([tokens("abc", logprobs=at)])

    assert [(entry.token, entry.logprob) for entry in delta.delta.logprobs] == [("a", 0.0), ("b", -1.0)]
    assert delta.delta.logprobs[0].top[0] == pb.TopLogprob(
        token_id=195, logprob=-0.5, token="\ufffd", token_bytes=b"\xc3"
    )


@pytest.mark.parametrize(
    ("fields", "last", "silent"),
    [
        ({}, END, [False, True]),
        ({"token_ids": frozenset(b"z")}, ord("z"), [False, True]),
        ({"token_ids": frozenset(b"z"), "include_stop": True}, ord("z"), [False, False]),
        ({"include_stop": True}, END, [False, True]),
    ],
)
def test_a_token_that_has_no_text_is_marked(
    byte_tokenizer: Tokenizer, generation: Recorded, fields: dict[str, Any], last: int, silent: list[bool]
) -> None:
    """The one that ended the choice, unless it is to be seen and can be."""
    completion = Completion(generation, byte_tokenizer, stopping(**fields), 1, n=1)
    at = (TokenLogprobs(0.0, ()),) * 2
    event = TokensEvent(0, 0, (ord("a"), last), logprobs=at, end=EndReason.STOP_TOKEN)
    delta, _ = completion.take([event])

    assert [entry.no_text for entry in delta.delta.logprobs] == silent
    assert delta.delta.text == "a" + ("" if silent[1] else "z")


def test_progress_is_a_heartbeat_only_where_there_is_nothing_else(
    byte_tokenizer: Tokenizer, generation: Recorded
) -> None:
    """A request of several choices beats once."""
    completion = Completion(generation, byte_tokenizer, stopping(), 1, n=2)
    beats = [ProgressEvent(Phase.PREFILL, 5), ProgressEvent(Phase.PREFILL, 7)]

    assert list(completion.take(beats)) == [
        pb.GenerateResponse(heartbeat=pb.Heartbeat(phase=pb.HEARTBEAT_PHASE_PREFILL, prefilled_tokens=7))
    ]
    (only,) = completion.take([*beats, tokens("a")])
    assert only.WhichOneof("event") == "delta"


def test_the_last_response_counts_and_times(byte_tokenizer: Tokenizer, generation: Recorded) -> None:
    """Usage counts the prompt once and all choices' tokens; timings are the engine's."""
    completion = Completion(generation, byte_tokenizer, stopping(), 3, n=2)
    list(completion.take([tokens("abc"), tokens("de", choice=1)]))
    completed = completion.completed().completed

    assert completed.usage == pb.Usage(prompt_tokens=3, cached_prompt_tokens=2, completion_tokens=5)
    assert completed.timings.queue.ToMilliseconds() == 500
    assert completed.timings.decode.ToSeconds() == 2


def test_what_an_end_makes_final_is_a_delta_of_its_own(
    byte_tokenizer: Tokenizer, generation: Recorded
) -> None:
    """Behind the tokens that came with it: at another worker it is said again, and they are not."""
    completion = Completion(generation, byte_tokenizer, stopping(strings=("END",)), 1, n=1)
    end = tokens("", 2, end=EndReason.DEADLINE)
    first, rest, finished = completion.take([tokens("aE"), end])

    assert first.delta == pb.Delta(token_ids=b"aE", text="a")
    assert rest.delta == pb.Delta(token_index=2, text="E")
    assert finished.finished.reason == pb.FINISH_REASON_DEADLINE
