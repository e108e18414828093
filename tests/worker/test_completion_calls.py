"""From tokens to calls: marks that are special tokens are read, reasoning is counted, one call is enough."""

import pytest
import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.engine.events import EndReason, TokensEvent
from inferloom_worker.hosting.dialect import Dialect
from inferloom_worker.output.completion import Completion
from inferloom_worker.text.template import ChatTemplate
from inferloom_worker.text.tokenizer import Tokenizer, byte_alphabet
from tests.worker.test_completion import Recorded, stopping
from tests.worker.tool_templates import TEMPLATES

MARKS = ("<end>", "[TOOL_CALLS]", "[ARGS]", "<think>", "</think>")


def marked_tokenizer() -> Tokenizer:
    """The bytes, and special tokens after them: the end, and marks."""
    backend = tokenizers.Tokenizer(models.BPE(vocab=dict(byte_alphabet()), merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in MARKS])
    return Tokenizer(backend, eos_ids=[256], special_tokens={"eos_token": "<end>"})


TOKENIZER = marked_tokenizer()
SOURCE = TEMPLATES["mistral-args"] + "{# <think> #}"


def answered(
    text: str,
    *,
    prompt: str = "",
    parallel: bool = True,
    max_tokens: int | None = None,
    at_once: int = 1,
    cut: bool = False,
) -> tuple[list[pb.GenerateResponse], Recorded]:
    """The events of an answer of these characters and marks, some ``at_once``, and what the engine heard."""
    template = ChatTemplate(SOURCE, {})
    template.check()
    dialect = Dialect(template, TOKENIZER)
    turn = pb.ChatMessage(role=pb.ROLE_USER, parts=[pb.ContentPart(text="Hi")])
    chat = pb.ChatInput(messages=[turn], tools=[pb.Tool(name="now")], parallel_tool_calls=parallel)
    if max_tokens is not None:
        chat.tool_choice.mode = pb.TOOL_CHOICE_MODE_REQUIRED
    ids = TOKENIZER.encode(text, add_special_tokens=False)
    recorded = Recorded()
    reading = dialect.reading(chat, prompt, 7)
    completion = Completion(recorded, TOKENIZER, stopping(max_tokens=max_tokens), 1, 1, reading)
    events: list[pb.GenerateResponse] = []
    for index in range(0, len(ids), at_once):
        tokens = tuple(ids[index : index + at_once])
        end = EndReason.STOP_TOKEN if tokens[-1] == 256 else None
        if cut and index + at_once >= len(ids):
            end = EndReason.LENGTH
        events += completion.take([TokensEvent(0, index, tokens, None, end)])
    return [*events, completion.completed()], recorded


def told(events: list[pb.GenerateResponse]) -> tuple[str, str, list[tuple[str, str]]]:
    """Text, reasoning, and name and arguments of each call."""
    calls: list[tuple[str, str]] = []
    for event in events:
        for part in event.delta.tool_calls:
            if part.id:
                calls.append((part.name, ""))
            calls[-1] = (calls[-1][0], calls[-1][1] + part.arguments)
    text = "".join(event.delta.text for event in events)
    return text, "".join(event.delta.reasoning for event in events), calls


def test_marks_that_are_special_tokens_are_read() -> None:
    """Though special tokens have no text; what they mark ends with a reason of its own."""
    events, _ = answered("Well.[TOOL_CALLS]now[ARGS]{}[TOOL_CALLS]now[ARGS]{}<end>")

    assert told(events) == ("Well.", "", [("now", "{}"), ("now", "{}")])
    (end,) = [event.finished for event in events if event.HasField("finished")]
    assert end.reason == pb.FINISH_REASON_TOOL_CALLS


def test_tokens_of_reasoning_are_counted() -> None:
    """Without the marks, wherever they were begun."""
    events, _ = answered("<think>Hm.</think>Yes.<end>")
    opened, _ = answered("Hm.</think>Yes.<end>", prompt="a<think>\n")

    for found in (events, opened):
        assert told(found) == ("Yes.", "Hm.", [])
        assert found[-1].completed.usage.reasoning_tokens == 3


def test_an_event_has_one_part_of_a_call() -> None:
    """However many tokens came at once: there are clients that read the first part of a chunk only."""
    text = '[TOOL_CALLS]now[ARGS]{"a": "b", "c": [1, 2]}[TOOL_CALLS]now[ARGS]{}<end>'
    events, _ = answered(text, at_once=7)
    single, _ = answered(text)

    parts = [[part.index for part in event.delta.tool_calls] for event in events]
    assert all(len(set(each)) == len(each) for each in parts)
    assert told(events) == told(single)


def test_an_answer_with_one_call_at_most_ends_with_it() -> None:
    """The engine is told to stop; a second call is not waited for."""
    events, recorded = answered("[TOOL_CALLS]now[ARGS]{}[TOOL_CALLS]now[ARGS]{}<end>", parallel=False)

    assert told(events) == ("", "", [("now", "{}")])
    assert recorded.aborted == [0]
    (end,) = [event.finished for event in events if event.HasField("finished")]
    assert (end.reason, end.completion_tokens) == (pb.FINISH_REASON_TOOL_CALLS, 7)


def test_calls_that_must_be_end_where_no_other_fits() -> None:
    """Each takes 7 tokens: behind two there is room for one more of that length, and none of twice that."""
    text = "[TOOL_CALLS]now[ARGS]{}" * 4

    for most, expected in ((7, 1), (20, 1), (27, 2), (28, 3), (None, 4)):
        events, _ = answered(text + "<end>", max_tokens=most)
        assert len(told(events)[2]) == expected


@pytest.mark.parametrize("at_once", [1, 100])
@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("[TOOL_CALLS]", []),
        ("[TOOL_CALLS]no", []),
        ("[TOOL_CALLS]now[ARGS]{}[TOOL_CALLS]n", [("now", "{}")]),
        ('[TOOL_CALLS]now[ARGS]{"a', [("now", '{"a')]),
        ("<think>Hm.</think>[TOOL_CALLS]now", []),
    ],
)
def test_a_call_that_must_be_and_is_cut_before_its_name_is_not_said(
    text: str, calls: list[tuple[str, str]], at_once: int
) -> None:
    """Its mark is no text; where calls only may be, what is none stays text, and where nothing was cut."""
    events, _ = answered(text, max_tokens=50, at_once=at_once, cut=True)
    said, thought, found = told(events)
    assert (said, found) == ("", calls)
    assert thought == ("Hm." if "Hm." in text else "")
    (end,) = [event.finished for event in events if event.HasField("finished")]
    assert end.reason == pb.FINISH_REASON_LENGTH

    may, _ = answered(text, at_once=at_once, cut=True)
    ended, _ = answered(text + "<end>", max_tokens=50, at_once=at_once)
    begun = "" if text.endswith("a") else text[text.rindex("[TOOL") :]
    assert told(may) == told(ended) == (begun, thought, calls)


def test_a_delta_is_of_one_kind() -> None:
    """Reasoning, text and calls that come at once are told one after another, each with its tokens."""
    text = "<think>Hm.</think>Well.[TOOL_CALLS]now[ARGS]{}<end>"
    events, _ = answered(text, at_once=100)

    deltas = [event.delta for event in events if event.HasField("delta")]
    assert [(each.reasoning, each.text, len(each.tool_calls)) for each in deltas] == [
        *(("Hm.", "", 0), ("", "Well.", 0), ("", "", 1)),
    ]
    ids = TOKENIZER.encode(text, add_special_tokens=False)
    assert [token for each in deltas for token in each.token_ids] == ids
