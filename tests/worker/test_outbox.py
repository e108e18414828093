"""What goes into a frame of a link: order, room, credit and pieces, whatever comes in what order."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import link_pb2
from inferloom_worker.output.completion import PlainDelta
from inferloom_worker.rpc.attach.frame import LARGEST_EVENT, LARGEST_FRAME, Frame
from inferloom_worker.rpc.attach.outbox import Item, Outbox

CALL = 7


def unheard(item: Item) -> None:
    """Nobody is told of it."""


def event(kind: str, size: int = 0) -> link_pb2.CallEvent:
    """An event of a kind, of about so many bytes."""
    made = {
        "started": pb.GenerateResponse(started=pb.Started(request_id="r" * size)),
        "full": pb.GenerateResponse(delta=pb.Delta(text="x" * size, reasoning="y")),
        "heartbeat": pb.GenerateResponse(heartbeat=pb.Heartbeat(prefilled_tokens=3)),
        "finished": pb.GenerateResponse(finished=pb.Finished(stop_string="s" * size)),
    }
    return link_pb2.CallEvent(call=CALL, generate=made[kind])


SIZES = st.sampled_from([0, 1, 200, LARGEST_EVENT - 200, LARGEST_EVENT + 1, 3 * LARGEST_EVENT])
EVENTS: st.SearchStrategy[Item] = st.one_of(
    st.builds(event, st.sampled_from(["started", "full", "heartbeat", "finished"]), SIZES),
    st.builds(
        lambda count, text: PlainDelta(0, 0, [5] * count, text),
        st.integers(0, 3),
        st.sampled_from(["", "a", "ü" * 50, "x" * 100_000]),
    ),
)
BATCHES = st.lists(st.lists(EVENTS, max_size=4), max_size=8)
GRANTS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 400_000)), min_size=1, max_size=6)


def events_of(message: link_pb2.AttachResponse, parts: list[bytes]) -> list[tuple[Any, int]]:
    """The events of a frame in the order of the contract, with what they count as; parts are put together."""
    found: list[tuple[Any, int]] = [(each, each.ByteSize()) for each in message.opening]
    columns, at = message.deltas, 0
    assert len(columns.call) <= 1
    for count, text in zip(columns.token_count, columns.text, strict=True):
        ids = columns.token_ids[at : at + count]
        at += count
        delta = pb.Delta(token_ids=ids, text=text)
        whole = link_pb2.CallEvent(call=CALL, generate=pb.GenerateResponse(delta=delta))
        found.append((whole, 64 + 4 * (count + len(text))))
    found += [(each, each.ByteSize()) for each in message.closing]
    for piece in message.pieces:
        assert (piece.index, len(piece.data) <= LARGEST_EVENT) == (len(parts), True)
        parts.append(piece.data)
        if piece.last:
            whole = link_pb2.CallEvent.FromString(b"".join(parts))
            found.append((whole, whole.ByteSize()))
            parts.clear()
    return found


def as_event(item: Item) -> link_pb2.CallEvent:
    """An item as it is told in full."""
    if isinstance(item, link_pb2.CallEvent):
        return item
    delta = pb.Delta(token_ids=item.ids, text=item.text)
    return link_pb2.CallEvent(call=CALL, generate=pb.GenerateResponse(delta=delta))


@settings(max_examples=150)
@given(BATCHES, GRANTS)
def test_all_events_come_once_in_order_and_within_credit(
    batches: list[list[Item]], grants: list[tuple[int, int]]
) -> None:
    """In frames of at most 1 MiB, and those that need credit only where there is some of both kinds; what is
    sent is told."""
    told: list[Item] = []
    outbox = Outbox(CALL, 1, 1000)
    events, size = 1, 1000
    waiting, came, parts = list(batches), [], list[bytes]()
    turns = iter([*grants, *[(5, 1_000_000)] * 200])
    while waiting or not outbox.empty:
        if waiting and outbox.empty and outbox.open:
            outbox.put(waiting.pop(0))
        frame = Frame()
        more = outbox.fill(frame, told.append)
        message = frame.message()
        assert message.ByteSize() <= LARGEST_FRAME
        for whole, count in events_of(message, parts):
            came.append(whole)
            if whole.generate.WhichOneof("event") != "heartbeat":
                assert events > 0
                assert size > 0
                events, size = events - 1, size - count
        if not more and not (outbox.empty and outbox.open):
            added = next(turns)
            outbox.grant(*added)
            events, size = events + added[0], size + added[1]
    expected = [as_event(item) for batch in batches for item in batch]
    assert came == expected
    assert len(told) == len(expected)


def test_a_delta_behind_others_is_told_in_full() -> None:
    """As an entry of the columns it would overtake what is in the closing list."""
    outbox = Outbox(CALL, 9, 9000)
    outbox.put([PlainDelta(0, 0, [1], "a"), event("finished"), PlainDelta(1, 0, [2], "b")])
    frame = Frame()
    assert not outbox.fill(frame, unheard)
    message = frame.message()
    assert (list(message.deltas.choice), list(message.deltas.text)) == ([], ["a"])
    assert [each.generate.WhichOneof("event") for each in message.closing] == ["finished", "delta"]


def test_a_full_frame_takes_no_more() -> None:
    """What lacks room stays for the next."""
    frame = Frame()
    boxes = [Outbox(CALL, 9, 2**30) for _ in range(5)]
    for box in boxes:
        box.put([event("full", LARGEST_EVENT - 100)])
    assert [box.fill(frame, unheard) for box in boxes] == [False, False, False, True, True]
    assert frame.message().ByteSize() <= LARGEST_FRAME


def test_a_choice_has_one_entry_in_the_columns() -> None:
    """What follows of it in the same frame is told in full; another choice has its own."""
    outbox = Outbox(CALL, 9, 9000)
    outbox.put([PlainDelta(0, 0, [1], "a"), PlainDelta(1, 0, [2], "b"), PlainDelta(0, 1, [], "c")])
    frame = Frame()
    assert not outbox.fill(frame, unheard)
    message = frame.message()
    assert (list(message.deltas.choice), list(message.deltas.text)) == ([0, 1], ["a", "b"])
    assert [each.generate.delta.text for each in message.closing] == ["c"]
