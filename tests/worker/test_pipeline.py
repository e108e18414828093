"""The way from tokens to what is said: it depends on the tokens, and not on the events that brought them."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.engine.events import EndReason, TokensEvent
from inferloom_worker.output.completion import Completion
from inferloom_worker.output.parsing import PLAIN, Parser, Reading, Said
from inferloom_worker.text.bytes_tokenizer import bytes_tokenizer
from inferloom_worker.text.tokenizer import Tokenizer
from tests.worker.test_completion import Recorded, stopping

BYTES = bytes_tokenizer()
WORDS = "ab<>é漢"


class Between:
    """A parser of what stands between ``<`` and ``>``, told as reasoning, or as a call when it is closed."""

    done = False
    calls = 0

    def __init__(self, *, calls: bool, name: str = "") -> None:
        self._calls = calls
        self._name = name
        self._inside: str | None = None
        self._count = 0

    @property
    def thinking(self) -> bool:
        """Whether this is reasoning."""
        return self._inside is not None and not self._calls

    def push(self, text: str) -> Said:
        """Character by character."""
        said = Said()
        for character in text:
            if self._inside is None and character == "<":
                self._inside = ""
            elif self._inside is not None and character == ">":
                self._close(said)
            elif self._inside is None:
                said.add_text(character)
            elif self._calls:
                self._inside += character
            else:
                said.add_reasoning(character)
        return said

    def _close(self, said: Said) -> None:
        if self._calls:
            call = pb.ToolCallDelta(
                index=self._count, id=f"{self._name}-{self._count}", arguments=self._inside or ""
            )
            said.add_call(call)
        self._count += 1
        self._inside = None

    def flush(self) -> Said:
        """A call that was not closed was none."""
        left = f"<{self._inside}" if self._calls and self._inside is not None else ""
        said = Said()
        said.add_text(left)
        return said


Told = tuple[tuple[str, str], ...]
"""What was said, in order: its kind and text, or id and arguments of a call; then how it ended."""


def parsers(choice: int) -> Sequence[Parser]:
    """One: of calls for choice 1, of reasoning for any other."""
    return (Between(calls=choice == 1, name=f"c{choice}"),)


def kinds(delta: pb.Delta) -> Told:
    """What a Delta says, which is of one kind."""
    calls = [(call.id, call.arguments) for call in delta.tool_calls]
    found = [(kind, text) for kind in ("text", "reasoning") if (text := getattr(delta, kind))]
    assert len(found) + bool(calls) <= 1
    return (*found, *calls)


def told(tokenizer: Tokenizer, ids: list[int], cuts: Sequence[int], **fields: Any) -> dict[int, Told]:
    """What had been said after so many tokens, at every cut and at the end, if the tokens came cut up like
    that."""
    choice = fields.pop("choice", 0)
    completion = Completion(
        Recorded(),
        tokenizer,
        stopping(**fields),
        1,
        choice + 1,
        Reading(parsers) if choice else PLAIN,
    )
    said: list[tuple[str, str]] = []
    after: dict[int, Told] = {}
    for start, end in pairwise(sorted({0, len(ids), *cuts})):
        reason = EndReason.LENGTH if end == len(ids) else None
        for response in completion.take([TokensEvent(choice, start, tuple(ids[start:end]), None, reason)]):
            if response.HasField("finished"):
                said.append((response.finished.stop_string, str(response.finished.reason)))
            for kind, text in kinds(response.delta):
                if said and said[-1][0] == kind:
                    said[-1] = (kind, said[-1][1] + text)
                else:
                    said.append((kind, text))
        after[end] = tuple(said)
    return after


IDS = st.text(WORDS, min_size=1, max_size=12).map(lambda text: list(text.encode())) | st.lists(
    st.integers(0, 255), min_size=1, max_size=16
)


@settings(max_examples=300)
@given(
    ids=IDS,
    data=st.data(),
    stops=st.lists(st.text(WORDS, min_size=1, max_size=3), max_size=3),
    include=st.booleans(),
    least=st.integers(0, 8),
    choice=st.integers(0, 2),
)
def test_what_was_said_depends_on_the_tokens_alone(
    ids: list[int], data: st.DataObject, stops: list[str], include: bool, least: int, choice: int
) -> None:
    """However they are cut into events: with stop strings, half characters, a least number of tokens,
    parsers."""
    cuts = data.draw(st.lists(st.integers(1, len(ids)), max_size=6))
    fields: dict[str, Any] = {
        "strings": tuple(stops),
        "include_stop": include,
        "min_tokens": least,
        "choice": choice,
    }
    one_by_one = told(BYTES, ids, range(len(ids)), **fields)
    cut_up = told(BYTES, ids, cuts, **fields)
    assert cut_up == {end: one_by_one[end] for end in cut_up}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_it_holds_for_word_pieces(minilm_tokenizer: Tokenizer, data: st.DataObject) -> None:
    """Which are decoded in windows, because a space may stand between two of them."""
    ids = data.draw(st.lists(st.integers(1000, 1400) | st.integers(2000, 2010), min_size=1, max_size=12))
    cuts = data.draw(st.lists(st.integers(1, len(ids)), max_size=6))
    fields: dict[str, Any] = {"strings": ("e t", "s")}
    one_by_one = told(minilm_tokenizer, ids, range(len(ids)), **fields)
    cut_up = told(minilm_tokenizer, ids, cuts, **fields)
    assert cut_up == {end: one_by_one[end] for end in cut_up}


def test_parsers_say_where_text_goes() -> None:
    """Reasoning apart from text; a call apart from both, and it says why the choice ended; what was no call
    is text."""
    cut = ("", str(pb.FINISH_REASON_LENGTH))
    everything = told(BYTES, list(b"a<b>c"), (), choice=2)[5]
    assert everything == (("text", "a"), ("reasoning", "b"), ("text", "c"), cut)
    call = told(BYTES, list(b"a<b>c<d"), (), choice=1)[7]
    assert call == (("text", "a"), ("c1-0", "b"), ("text", "c<d"), cut)

    completion = Completion(Recorded(), BYTES, stopping(), 1, 2, Reading(parsers))
    (*_, end) = completion.take([TokensEvent(1, 0, tuple(b"<b>\n"), None, EndReason.STOP_TOKEN)])
    assert end.finished.reason == pb.FINISH_REASON_TOOL_CALLS


def test_stop_strings_come_before_parsers() -> None:
    """What a parser would have taken ends the text too, and nothing held back is lost."""
    after = told(BYTES, list(b"a<bSTOP>c"), (), choice=1, strings=("STOP",))
    assert after[9] == (("text", "a<b"), ("STOP", str(pb.FINISH_REASON_STOP)))
