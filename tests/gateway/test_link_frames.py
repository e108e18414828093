"""What a gateway makes of the frames of a worker's stream, good ones and broken ones."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import link_pb2, registry_pb2
from inferloom_gateway.calls.attach.broken import BrokenFrameError
from inferloom_gateway.calls.attach.demultiplexer import Demultiplexer
from inferloom_gateway.calls.attach.link_call import BYTES, EVENTS, LITTLE, LinkCall
from inferloom_gateway.calls.attach.outgoing import LARGEST_FRAME, Outgoing
from inferloom_gateway.calls.link import CallFailedError
from inferloom_gateway.calls.tokens import Tokens
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_mesh.pieces import LARGEST_PIECE, PieceBox
from inferloom_mesh.server import MAX_MESSAGE_BYTES
from inferloom_mesh.status import rich_status
from tests.patience import PATIENCE_S

GENERATE = pb.GenerateRequest(model="m", sampling=pb.SamplingOptions(n=2))
STARTED = pb.GenerateResponse(started=pb.Started(seed=7))
COMPLETED = pb.GenerateResponse(completed=pb.Completed())


class Seen:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.beats: list[bool] = []
        self.ends: list[CallFailedError | None] = []
        self.ended = asyncio.Event()

    def take(self, event: Any) -> None:
        self.events.append(event)

    def tokens(self, tokens: Tokens) -> None:
        self.events.append((tokens.choice, tokens.index, list(tokens.ids), tokens.text))

    def beat(self, *, moved: bool) -> None:
        self.beats.append(moved)

    def end(self, error: CallFailedError | None) -> None:
        self.ends.append(error)
        self.ended.set()


class Link:
    """A demultiplexer, and what it and its calls asked for."""

    def __init__(self) -> None:
        self.loads: list[registry_pb2.Load] = []
        self.demultiplexer = Demultiplexer(self.loads.append)
        self.credits: list[tuple[int, int, int]] = []
        self.cancels: list[int] = []
        self.owing: dict[int, LinkCall] = {}

    def owe(self, call: LinkCall) -> None:
        self.owing[call.number] = call

    def settle(self) -> None:
        owing, self.owing = self.owing, {}
        for call in owing.values():
            call.give_back()

    def credit(self, call: int, events: int, size: int) -> None:
        self.credits.append((call, events, size))

    def leave(self, call: int, *, cancel: bool) -> None:
        self.demultiplexer.forget(call)
        if cancel:
            self.cancels.append(call)

    def call(self, request: Any = GENERATE, *, begun: bool = True) -> tuple[LinkCall, Seen]:
        """A call that runs."""
        seen, number = Seen(), self.demultiplexer.number()
        call = LinkCall(number, request, seen, self, lambda: pytest.fail("it need not be made again"))
        self.demultiplexer.calls[number] = call
        if begun:
            self.take(opening=[link_pb2.CallEvent(call=number, generate=STARTED)])
            seen.events.clear()
        return call, seen

    def take(self, **frame: Any) -> None:
        """Take a frame that a worker could send, by way of its bytes."""
        data = link_pb2.AttachResponse(**frame).SerializeToString()
        self.demultiplexer.take(link_pb2.AttachResponse.FromString(data))


def columns(*rows: tuple[int, int, int, list[int], str]) -> link_pb2.DeltaColumns:
    """Deltas as columns: call, choice, index, tokens and text of each."""
    return link_pb2.DeltaColumns(
        call=[row[0] for row in rows],
        choice=[row[1] for row in rows],
        token_index=[row[2] for row in rows],
        token_count=[len(row[3]) for row in rows],
        token_ids=[token for row in rows for token in row[3]],
        text=[row[4] for row in rows],
    )


def pieces(event: link_pb2.CallEvent, size: int = LARGEST_PIECE) -> list[link_pb2.EventPiece]:
    """An event in parts."""
    data = event.SerializeToString()
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    return [
        link_pb2.EventPiece(call=event.call, index=index, last=index == len(parts) - 1, data=part)
        for index, part in enumerate(parts)
    ]


def test_a_frame_reaches_its_calls_in_order() -> None:
    """What is in opening comes before a call's deltas, what is in closing after them, then its end."""
    link = Link()
    (first, seen), (second, other) = link.call(begun=False), link.call()
    finished = pb.GenerateResponse(finished=pb.Finished(choice=1))
    link.take(
        opening=[link_pb2.CallEvent(call=first.number, generate=STARTED)],
        deltas=columns((1, 1, 0, [5, 6], "ab"), (2, 0, 3, [], "é"), (1, 0, 0, [7], "")),
        closing=[
            link_pb2.CallEvent(call=1, generate=finished),
            link_pb2.CallEvent(call=1, generate=COMPLETED),
        ],
        ends=[link_pb2.CallEnd(call=1)],
        load=registry_pb2.Load(running=2),
    )
    assert seen.events == [STARTED, (1, 0, [5, 6], "ab"), (0, 0, [7], ""), finished, COMPLETED]
    assert seen.ends == [None]
    assert (other.events, other.ends) == ([(0, 3, [], "é")], [])
    assert list(link.demultiplexer.calls) == [second.number]
    assert link.loads == [registry_pb2.Load(running=2)]


def test_columns_without_choices_are_of_the_first() -> None:
    """As most are."""
    link = Link()
    _, seen = link.call()
    link.take(
        deltas=link_pb2.DeltaColumns(call=[1], token_index=[4], token_count=[1], token_ids=[9], text=["x"])
    )
    assert seen.events == [(0, 4, [9], "x")]


def test_what_comes_for_a_call_that_is_over_is_dropped() -> None:
    """It was under way when the gateway cancelled."""
    link = Link()
    call, seen = link.call()
    call.cancel()
    assert link.cancels == [1]
    link.take(
        deltas=columns((1, 0, 0, [1], "a")),
        closing=[link_pb2.CallEvent(call=1, generate=COMPLETED)],
        pieces=pieces(link_pb2.CallEvent(call=1, generate=COMPLETED)),
        ends=[link_pb2.CallEnd(call=1)],
    )
    assert (seen.events, seen.ends) == ([], [])


def test_a_large_event_comes_in_pieces() -> None:
    """Between frames for others, whole."""
    link = Link()
    _, seen = link.call(pb.EmbedRequest(model="m"), begun=False)
    _, other = link.call()
    link.take(opening=[link_pb2.CallEvent(call=1, embed=pb.EmbedResponse(started=pb.EmbedStarted()))])
    part = pb.EmbedResponse(part=pb.EmbedPart(embeddings=[pb.Embedding(vector=b"v" * 300 * 2**10)]))
    for piece in pieces(link_pb2.CallEvent(call=1, embed=part)):
        link.take(pieces=[piece])
        link.take(deltas=columns((2, 0, 0, [1], "a")))
    assert seen.events[1:] == [part]
    assert len(other.events) == 2
    ((call, events, size),) = link.credits
    assert (call, events) == (1, 2)
    assert size > BYTES


def test_an_end_amid_the_pieces_of_an_event_is_that_calls_own() -> None:
    """Its worker fails it in the midst; one that says that all is well has lost the event."""
    link = Link()
    (_, late), (_, wrong), (_, other) = link.call(), link.call(), link.call()
    for number in (1, 2):
        link.take(pieces=[link_pb2.EventPiece(call=number, data=b"x")])
    status = rich_status(InferloomError(Reason.TIMEOUT, "The deadline passed."))
    link.take(
        deltas=columns((3, 0, 0, [1], "a")),
        ends=[
            link_pb2.CallEnd(call=1, code=status.code, message=status.message, details=status.details),
            link_pb2.CallEnd(call=2),
        ],
    )
    reasons = [end.verdict.error.reason for end in (*late.ends, *wrong.ends) if end is not None]
    assert reasons == [Reason.TIMEOUT, Reason.WORKER_LOST]
    link.take(pieces=[link_pb2.EventPiece(call=1, index=1, data=b"x")], deltas=columns((3, 0, 1, [1], "b")))
    assert (len(other.events), other.ends) == (2, [])


def test_an_event_amid_the_pieces_of_another_breaks_the_link() -> None:
    """Whether in a list or in columns: there is an order."""
    for sent in (
        {"closing": [link_pb2.CallEvent(call=1, generate=COMPLETED)]},
        {"deltas": columns((1, 0, 0, [1], "a"))},
    ):
        link = Link()
        link.call()
        link.take(pieces=[link_pb2.EventPiece(call=1, data=b"x")])
        with pytest.raises(BrokenFrameError):
            link.take(**sent)


def test_an_end_with_a_status_is_judged_as_a_calls_own() -> None:
    """One of ours keeps its reason and its time; a bare one is the transport's."""
    link = Link()
    (_, full), (_, bare) = link.call(), link.call()
    status = rich_status(InferloomError(Reason.SERVER_OVERLOADED, "Full.", retry_after=2.0))
    link.take(
        ends=[
            link_pb2.CallEnd(call=1, code=status.code, message=status.message, details=status.details),
            link_pb2.CallEnd(call=2, code=14, message="10.0.0.1 is away"),
        ]
    )
    (ours,), (theirs,) = full.ends, bare.ends
    assert ours is not None
    assert theirs is not None
    assert (str(ours.verdict.error), ours.verdict.not_now_s) == ("Full.", 2.0)
    assert (theirs.verdict.lost, "10.0.0.1" in str(theirs.verdict.error)) == (True, False)


def test_credit_returns_in_halves_and_not_while_paused() -> None:
    """What a call spends it gets back, once half of it is gone, and once it wants more."""
    link = Link()
    call, _ = link.call()
    for index in range(EVENTS // 2 - 1):
        link.take(deltas=columns((1, 0, index, [1], "ab")))
    (first,) = link.credits
    assert first[:2] == (1, EVENTS // 2)
    call.pause()
    for index in range(EVENTS):
        link.take(deltas=columns((1, 0, index, [1], "ab")))
    assert len(link.credits) == 1
    call.resume()
    assert link.credits[1] == (1, EVENTS, EVENTS * (64 + 4 * 3))
    link.take(deltas=columns((1, 0, 0, [], "x" * (BYTES // 8))))
    assert link.credits[2] == (1, 1, 64 + BYTES // 2)


def test_calls_that_have_spent_a_little_get_it_back_with_others() -> None:
    """So that they send together; who has spent less waits."""
    link = Link()
    for _ in range(3):
        link.call()
    for index in range(LITTLE):
        link.take(deltas=columns((2, 0, index, [1], "a"), *([(3, 0, index, [1], "a")] if index > 1 else [])))
    for index in range(EVENTS // 2 - 1):
        link.take(deltas=columns((1, 0, index, [1], "a")))
    assert [credit[:2] for credit in link.credits] == [(1, EVENTS // 2), (2, LITTLE + 1)]


def test_a_worker_that_sends_on_without_credit_breaks_the_link() -> None:
    """Or a client that does not read would hold as much as it likes."""
    link = Link()
    call, seen = link.call()
    call.pause()

    def flood() -> None:
        for index in range(10 * EVENTS):
            link.take(deltas=columns((1, 0, index, [1], "a")))

    with pytest.raises(BrokenFrameError):
        flood()
    assert len(seen.events) <= 4 * EVENTS


def test_heartbeats_and_completed_take_no_credit() -> None:
    """A heartbeat is not shown to who wants nothing now."""
    link = Link()
    call, seen = link.call()
    heartbeat = pb.GenerateResponse(heartbeat=pb.Heartbeat())
    for _ in range(2 * EVENTS):
        link.take(closing=[link_pb2.CallEvent(call=1, generate=heartbeat)])
    assert (link.credits, len(seen.events)) == ([], 2 * EVENTS)
    call.pause()
    link.take(closing=[link_pb2.CallEvent(call=1, generate=heartbeat)])
    link.take(closing=[link_pb2.CallEvent(call=1, generate=COMPLETED)])
    assert seen.events[2 * EVENTS :] == [COMPLETED]


def test_beats_are_told_to_an_engines_calls() -> None:
    """Whether it has taken a step; a model without an engine of its own goes by all."""
    link = Link()
    (_, seen), (_, other), (_, adapter) = (
        link.call(pb.GenerateRequest(model=model), begun=False) for model in ("a", "b", "c")
    )
    for steps in (1, 1, 2):
        link.take(
            beats=[link_pb2.EngineBeat(model="a", steps=steps), link_pb2.EngineBeat(model="b", steps=5)]
        )
    assert (seen.beats, other.beats) == ([True, False, True], [True, False, False])
    assert adapter.beats == [True, False, True]


def test_a_call_that_is_read_hears_that_it_is() -> None:
    """And no other; one that is over hears nothing."""
    link = Link()
    (_, read), (_, other), (over, gone) = (link.call(begun=False) for _ in range(3))
    over.cancel()
    link.take(reading=[1, 3])
    assert (read.beats, other.beats, gone.beats) == ([True], [], [])
    with pytest.raises(BrokenFrameError):
        link.take(reading=[4])


async def test_a_sink_that_fails_ends_its_own_call() -> None:
    """The frame's other calls go on."""
    link = Link()
    (_, seen), (_, other) = link.call(), link.call()
    seen.tokens = lambda tokens: 1 / 0  # type: ignore[method-assign, assignment]
    link.take(deltas=columns((1, 0, 0, [1], "a"), (2, 0, 0, [1], "a"), (1, 1, 0, [1], "a")))
    (failure,) = seen.ends
    assert failure is not None
    assert failure.verdict.error.reason is Reason.SERVER_ERROR
    assert (link.cancels, len(other.events)) == ([1], 1)


async def test_a_call_ends_at_its_deadline() -> None:
    """A little later, so that its worker can say so itself; the worker is told to end it."""
    link = Link()
    call, seen = link.call()
    call.due(-1.0)
    async with asyncio.timeout(PATIENCE_S):
        await seen.ended.wait()
    (failure,) = seen.ends
    assert failure is not None
    assert (failure.verdict.error.reason, failure.verdict.blamed) == (Reason.TIMEOUT, True)
    assert link.cancels == [1]


STRANGE: dict[str, dict[str, Any]] = {
    "a number that no call had": {"ends": [link_pb2.CallEnd(call=9)]},
    "number 0": {"closing": [link_pb2.CallEvent(generate=COMPLETED)]},
    "columns of different lengths": {"deltas": link_pb2.DeltaColumns(call=[1, 1], text=["a"])},
    "fewer choices than entries": {
        "deltas": link_pb2.DeltaColumns(
            call=[1, 1], choice=[0], token_index=[0, 0], token_count=[0, 0], text=["a", "b"]
        )
    },
    "more tokens than there are": {
        "deltas": link_pb2.DeltaColumns(call=[1], token_index=[0], token_count=[2**32 - 1], text=["a"])
    },
    "tokens of nobody": {"deltas": link_pb2.DeltaColumns(token_ids=[1, 2])},
    "a choice that was not asked for": {"deltas": columns((1, 2, 0, [1], "a"))},
    "its end": {
        "closing": [link_pb2.CallEvent(call=1, generate=pb.GenerateResponse(finished=pb.Finished(choice=2)))]
    },
    "tokens before the start": {"deltas": columns((2, 0, 0, [1], "a"))},
    "an end before the start": {"closing": [link_pb2.CallEvent(call=2, generate=COMPLETED)]},
    "a second start": {"opening": [link_pb2.CallEvent(call=1, generate=STARTED)]},
    "no event": {"opening": [link_pb2.CallEvent(call=1)]},
    "an empty event": {"opening": [link_pb2.CallEvent(call=1, generate=pb.GenerateResponse())]},
    "an event of another method": {"opening": [link_pb2.CallEvent(call=1, rerank=pb.RerankResponse())]},
    "a piece that is not the first": {"pieces": [link_pb2.EventPiece(call=1, index=1, data=b"x")]},
    "an empty piece": {"pieces": [link_pb2.EventPiece(call=1)]},
    "a piece that is too large": {"pieces": [link_pb2.EventPiece(call=1, data=bytes(LARGEST_PIECE + 1))]},
    "pieces that make no event": {"pieces": [link_pb2.EventPiece(call=1, last=True, data=b"\xff")]},
    "the first piece again": {"pieces": [link_pb2.EventPiece(call=1, data=b"x")] * 2},
    "pieces of another call's event": {
        "pieces": [
            link_pb2.EventPiece(
                call=1, last=True, data=link_pb2.CallEvent(call=2, generate=STARTED).SerializeToString()
            )
        ]
    },
    "beats of more engines than there can be": {
        "beats": [link_pb2.EngineBeat(model=str(number)) for number in range(5000)]
    },
}


@pytest.mark.parametrize("fault", STRANGE)
def test_a_frame_against_the_rules_is_broken(fault: str) -> None:
    """Whatever the rule, it is the link that ends, with a reason; call 1 has begun, call 2 has not."""
    link = Link()
    link.call()
    link.call(begun=False)
    with pytest.raises(BrokenFrameError):
        link.take(**STRANGE[fault])


def test_an_event_that_never_ends_breaks_the_link() -> None:
    """Before it takes more memory than a message may."""
    link = Link()
    link.call()

    def flood() -> None:
        for index in range(100):
            link.take(pieces=[link_pb2.EventPiece(call=1, index=index, data=bytes(LARGEST_PIECE))])

    with pytest.raises(BrokenFrameError):
        flood()


numbers = st.sampled_from([0, 1, 1, 2, 2, 3, 9, 2**64 - 1])
events = st.builds(
    link_pb2.CallEvent,
    call=numbers,
    generate=st.none()
    | st.sampled_from(
        [
            STARTED,
            COMPLETED,
            pb.GenerateResponse(),
            pb.GenerateResponse(heartbeat=pb.Heartbeat()),
            pb.GenerateResponse(delta=pb.Delta(choice=1, text="a")),
            pb.GenerateResponse(finished=pb.Finished(choice=5)),
        ]
    ),
)
small = st.lists(st.integers(0, 3), max_size=4)
frames = st.builds(
    link_pb2.AttachResponse,
    opening=st.lists(events, max_size=3),
    deltas=st.none()
    | st.builds(
        link_pb2.DeltaColumns,
        call=st.lists(numbers, max_size=4),
        choice=small,
        token_index=small,
        token_count=small,
        token_ids=small,
        text=st.lists(st.text(max_size=3), max_size=4),
    ),
    closing=st.lists(events, max_size=3),
    pieces=st.lists(
        st.builds(
            link_pb2.EventPiece,
            call=numbers,
            index=st.integers(0, 2),
            last=st.booleans(),
            data=st.binary(max_size=8),
        ),
        max_size=3,
    ),
    ends=st.lists(
        st.builds(link_pb2.CallEnd, call=numbers, code=st.sampled_from([0, 4, 14, 99])), max_size=2
    ),
    reading=st.lists(numbers, max_size=2),
    beats=st.lists(
        st.builds(link_pb2.EngineBeat, model=st.sampled_from("mn"), steps=st.integers(0, 3)), max_size=2
    ),
)


@settings(max_examples=100)
@given(st.lists(frames, max_size=6))
def test_whatever_comes_is_taken_or_refused(sent: list[link_pb2.AttachResponse]) -> None:
    """Nothing else is raised, every call ends at most once, and after its end it hears nothing."""
    link = Link()
    seen = [link.call(begun=False)[1] for _ in range(3)]
    marks = [0] * len(seen)
    for frame in sent:
        over = [bool(one.ends) for one in seen]
        marks = [len(one.events) for one in seen]
        try:
            link.demultiplexer.take(frame)
        except BrokenFrameError:
            break
        for one, was_over, mark in zip(seen, over, marks, strict=True):
            assert len(one.ends) <= 1
            assert not (was_over and len(one.events) > mark)


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_random_bytes_are_taken_or_refused(data: bytes) -> None:
    """Those that make a frame."""
    link = Link()
    link.call()
    try:
        frame = link_pb2.AttachResponse.FromString(data)
    except Exception:  # gRPC ends a stream with such a message by itself
        return
    with suppress(BrokenFrameError):
        link.demultiplexer.take(frame)


def test_what_goes_out_is_gathered() -> None:
    """Starts, cancels and credits of a turn are one frame; a call that was not sent is not cancelled."""
    outgoing = Outgoing()
    for number in (1, 2):
        outgoing.start(link_pb2.StartCall(call=number))
    outgoing.credit(7, 3, 100)
    outgoing.credit(7, 2, 50)
    outgoing.credit(8, 1, 1)
    outgoing.cancel(8)
    outgoing.cancel(2)
    assert outgoing.next() == link_pb2.AttachRequest(
        starts=[link_pb2.StartCall(call=1)],
        cancels=[8],
        credits=[link_pb2.Credit(call=7, events=5, bytes=150)],
    )
    assert outgoing.next() is None


def test_a_frame_that_goes_out_is_no_larger_than_it_may_be() -> None:
    """What does not fit waits for the next, in order."""
    outgoing = Outgoing()
    for number in range(1, 8):
        request = pb.GenerateRequest(text="x" * 300_000)
        outgoing.start(link_pb2.StartCall(call=number, generate=request))
    sent = []
    for number in range(25_000):
        outgoing.cancel(1000 + number)
    while (frame := outgoing.next()) is not None:
        assert frame.ByteSize() <= LARGEST_FRAME
        sent += [start.call for start in frame.starts]
    assert sent == list(range(1, 8))


def large(call: int, size: int = 1_200_000) -> link_pb2.StartCall:
    """A start that does not fit a frame with others."""
    return link_pb2.StartCall(call=call, generate=pb.GenerateRequest(text="x" * size))


def test_a_large_start_goes_in_pieces_beside_all_else() -> None:
    """One after another, once the worker takes them; what is small does not wait for them."""
    outgoing, box = Outgoing(), PieceBox(MAX_MESSAGE_BYTES)
    for number in (1, 2):
        outgoing.start(large(number))
    assert outgoing.next() is None
    outgoing.takes_pieces = True
    whole: list[link_pb2.StartCall] = []
    small: list[int] = []
    while (frame := outgoing.next()) is not None:
        assert frame.ByteSize() <= LARGEST_FRAME
        small += [start.call for start in frame.starts]
        came = [data for piece in frame.pieces if (data := box.add(piece)) is not None]
        whole += map(link_pb2.StartCall.FromString, came)
        if not small:
            outgoing.start(link_pb2.StartCall(call=3))
            assert not whole
    assert whole == [large(1), large(2)]
    assert small == [3]


def test_a_large_start_whose_caller_leaves_is_taken_back_as_far_as_it_went() -> None:
    """One of which a part went is cancelled; of one that waits the worker never hears."""
    outgoing = Outgoing()
    outgoing.takes_pieces = True
    for number in (1, 2):
        outgoing.start(large(number, 4_000_000))
    first = outgoing.next()
    assert first is not None
    assert {piece.call for piece in first.pieces} == {1}
    for number in (1, 2):
        outgoing.cancel(number)
    assert outgoing.next() == link_pb2.AttachRequest(cancels=[1])
    assert outgoing.next() is None
