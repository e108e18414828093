"""What `inferloom explain` says of a request."""

import io

import pytest
from rich.console import Console

from inferloom.v1 import gateway_pb2 as pb
from inferloom_cli.explain import tell
from inferloom_cli.happening_words import sentence
from inferloom_cli.story import headline, parts, span, story
from inferloom_mesh.durations import duration


def record() -> pb.RequestRecord:
    """A generation that waited, was lost with one worker, went on at another, and was answered."""
    told = pb.RequestRecord(
        request_id="r1", gateway="front", pid=7, method="generate", model="chat", caller="10.0.0.9:5",
        key_id="k1", tenant="acme", state=pb.REQUEST_STATE_DONE, budget=duration(600),
        dispatched=duration(0.12), lined_up=duration(0.02), first_token=duration(0.3),
        ended=duration(2.3), attempt_count=2,
        compute_hash="c", delivered=41, prompt_tokens=30, cached_prompt_tokens=16, completion_tokens=41,
        queue=duration(0.01), prefill=duration(0.04), decode=duration(1.0),
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )  # fmt: skip
    told.admission.counted_in.extend(["key:k1", "tenant:acme"])
    told.admission.reserved_tokens = 64
    told.arrived_at.FromSeconds(1_800_000_000)
    first = told.attempts.add(worker="a", epoch=3, began=duration(0.12), accepted=duration(0.13))
    first.ended.CopyFrom(duration(1.0))
    first.cause = "stalled"
    first.error.reason, first.error.message = "WORKER_LOST", "The worker that was answering was lost."
    first.candidates.add(worker="a", load=0.25)
    first.candidates.add(worker="b", load=0.5)
    second = told.attempts.add(worker="b", epoch=1, began=duration(1.0), accepted=duration(1.2), again=True)
    second.ended.CopyFrom(duration(2.3))
    second.candidates.add(worker="b", load=0.5)
    told.moves.add(tokens=12, from_worker="a", to_worker="b", reason="stalled", at=duration(1.2))
    return told


def text_of(told: pb.RequestRecord) -> str:
    """The story as one text."""
    return "\n".join(line.text for line in story(told))


def test_a_story_tells_who_what_and_why_in_order() -> None:
    """From its arrival over its limits, the line, both workers and the move to its end."""
    lines = story(record())
    assert [line.at_s for line in lines] == sorted(line.at_s for line in lines)
    assert [line.text for line in lines] == [
        "came from 10.0.0.9:5 with the key k1 of the tenant acme: generate, model chat; it had 10 min",
        "counted in the limits of key:k1, tenant:acme, which reserved 64 tokens",
        "waited at the gateway: every worker of the model was full",
        "sent to a (epoch 3), the first in the order for its prompt "
        "(loads, of which 1 is full: a 0.25, b 0.50)",
        "a accepted it",
        "the first token came",
        "a failed: it fell silent (WORKER_LOST: The worker that was answering was lost.)",
        "call 2: sent to b (epoch 1), the only worker that came into question (load 0.50)",
        "went on from a at b, behind the 12 tokens that its caller had: it fell silent; "
        "10 ms in the engine's queue; 30 prompt tokens read in 40 ms, 16 of them cached",
        "was answered with 41 tokens, 20 a second",
    ]
    assert [line.text for line in lines if line.bad] == [lines[6].text]
    assert headline(record(), 0.0) == "was answered after 2.30 s"


def test_where_the_time_went_is_added_up() -> None:
    """As far as it is known; what took no time is left out."""
    assert [(part.name, round(part.seconds, 3)) for part in parts(record())] == [
        ("reading and admission", 0.02),
        ("the gateway's line", 0.1),
        ("a until it failed", 0.88),
        ("the engine's queue", 0.01),
        ("reading the prompt", 0.04),
        ("generating", 1.0),
    ]
    assert parts(pb.RequestRecord()) == []


def test_other_ends_are_told_as_such() -> None:
    """One that runs, one that failed, one whose caller left, and one that is no generation."""
    told = record()
    told.state = pb.REQUEST_STATE_FAILED
    told.error.reason, told.error.param = "INVALID_ARGUMENT", "sampling.top_p"
    assert text_of(told).endswith("failed: INVALID_ARGUMENT, field sampling.top_p; its caller had 41 tokens")
    told.state = pb.REQUEST_STATE_CANCELLED
    assert text_of(told).endswith("its caller left, or a drain cut it off, with 41 tokens delivered")
    told.ClearField("ended")
    told.state = pb.REQUEST_STATE_RUNNING
    assert "cut it off" not in text_of(told)
    assert headline(told, 1_800_000_012.0) == "still runs, for 12.0 s now"
    embeds = pb.RequestRecord(method="embed", model="e", state=pb.REQUEST_STATE_DONE, ended=duration(0.1))
    one = embeds.attempts.add(worker="a", began=duration(0.0))
    for name, load in (("a", 0.1), ("b", 0.9)):
        one.candidates.add(worker=name, load=load)
    assert "which had the least to do" in text_of(embeds)
    assert text_of(embeds).endswith("was answered")


@pytest.mark.parametrize("width", [48, 80, 140])
def test_a_story_fits_its_terminal(width: int) -> None:
    """Words are whole, and no line is longer than it."""
    console = Console(width=width, file=io.StringIO(), highlight=False)
    tell(record(), console)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    said = " ".join(console.file.getvalue().split())
    trace = "trace 0af7651916cd43dd8448eb211c80319c"
    for words in ("request r1 was answered after 2.30 s", "fell silent", "+1.20 s", "acme", trace):
        assert words in said


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0 ms"), (0.00042, "0.4 ms"), (0.0412, "41 ms"), (0.9994, "999 ms"), (1.284, "1.28 s"),
        (12.34, "12.3 s"), (125.0, "2 min 5 s"), (600.0, "10 min"), (7500.0, "2 h 5 min"),
    ],
)  # fmt: skip
def test_times_are_short(value: float, text: str) -> None:
    """Four digits at most, with their unit."""
    assert span(value) == text


def test_every_kind_of_happening_is_a_sentence() -> None:
    """In words, with who, what and why."""
    for kind in pb.HappeningKind.values()[1:]:
        one = pb.Happening(
            kind=kind, gateway="front", worker="w1", to_worker="w2", model="chat", count=1, reason="stalled"
        )
        text = sentence(one)
        assert "HAPPENING" not in text
        assert len(text.split()) > 1
    moved = pb.Happening(
        kind=pb.HAPPENING_KIND_REQUEST_MOVED, worker="w1", to_worker="w2", model="chat", request_id="r1",
        count=1, tokens=12, reason="disconnected",
    )  # fmt: skip
    assert sentence(moved) == "request r1 of chat moved from w1 to w2 with 12 tokens: the connection broke"
    moved.count, moved.tokens = 5, 0
    assert sentence(moved) == "5 requests of chat moved from w1 to w2: the connection broke"
