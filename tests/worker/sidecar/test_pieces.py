"""What a server says, piece by piece: events, chunks, and calls of tools."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError
from inferloom_worker.engines.sidecar.sse import EventReader, MalformedError
from inferloom_worker.hosting.sidecar.chunks import Chunks
from inferloom_worker.hosting.sidecar.tool_calls import Arguments, ToolCalls
from inferloom_worker.output.completion import PlainDelta, response_of


@given(st.lists(st.integers(1, 9)), st.sampled_from(["\n", "\r\n"]))
def test_events_are_the_same_however_their_bytes_are_cut(cuts: list[int], end: str) -> None:
    """Comments and names are passed over, and lines of one event belong together."""
    lines = (
        ": ping",
        "",
        "event: x",
        "data: one",
        "",
        "data:two",
        "data: 2",
        "",
        "id: 3",
        "",
        "error: e",
        "",
        "",
    )
    text = end.join(lines)
    data, reader, found = text.encode(), EventReader(), list[bytes]()
    for cut in [*cuts, len(data)]:
        found += reader.feed(data[:cut])
        data = data[cut:]
    assert found == [b"one", b"two\n2", b"e"]


def test_an_event_is_bounded_however_it_is_made() -> None:
    """In one line, or in many."""
    reader = EventReader(100)
    with pytest.raises(MalformedError):
        list(reader.feed(b"x" * 101))
    reader = EventReader(100)
    with pytest.raises(MalformedError):
        list(reader.feed(b"data: 123456789\n" * 20))


@given(st.binary(max_size=200), st.integers(1, 3))
def test_any_bytes_are_read_or_refused(data: bytes, n: int) -> None:
    """As a stranger's chunk."""
    chunks = Chunks(n, top=2)
    with suppress(MalformedError, InferloomError):
        chunks.read(data)
        assert not chunks.usage.prompt_tokens


JSONS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
FIELDS = (
    "index",
    "delta",
    "text",
    "logprobs",
    "finish_reason",
    "token_ids",
    "content",
    "tool_calls",
    "tokens",
)


@settings(max_examples=30)
@given(
    st.dictionaries(st.sampled_from(FIELDS), JSONS), st.dictionaries(st.sampled_from(FIELDS), JSONS), JSONS
)
def test_any_json_is_read_or_refused(choice: dict[str, Any], delta: dict[str, Any], usage: Any) -> None:
    """With the right names, and anything behind them."""
    chunks = Chunks(2, top=2, tell_prompt=True)
    for told in (choice, {**choice, "delta": delta}, {**choice, "logprobs": delta}):
        with suppress(MalformedError, InferloomError):
            chunks.read(json.dumps({"choices": [told], "usage": usage, "__verbose": delta}).encode())
            assert len(chunks.end()) == 2


def test_an_end_waits_for_the_usage_and_choices_count_apart() -> None:
    """Where ids tell how many tokens a choice has, they do."""
    chunks = Chunks(2)
    for index, ids in ((0, [1, 2]), (1, [3])):
        told = {"index": index, "text": "x", "token_ids": ids, "finish_reason": "stop"}
        (item,) = chunks.read(json.dumps({"choices": [told]}).encode())
        assert item == PlainDelta(index, 0, ids, "x")
    assert [each.finished.completion_tokens for each in chunks.ends()] == [2, 1]
    assert chunks.usage.completion_tokens == 3


def calls_of(*chunks: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Id, name and arguments of the calls that a server's parts come to."""
    calls, made = ToolCalls(), dict[int, tuple[str, str, str]]()
    for chunk in chunks:
        for part in calls.read(chunk):
            id_, name, arguments = made.get(part.index, ("", "", ""))
            made[part.index] = (id_ + part.id, name + part.name, arguments + part.arguments)
    assert list(made) == list(range(len(made)))
    return list(made.values())


def part_of(arguments: str, name: str | None = None, **more: Any) -> dict[str, Any]:
    """A part of a call."""
    return {**more, "function": {"arguments": arguments, **({} if name is None else {"name": name})}}


TWO = [("a", "f", '{"x": 1}'), ("b", "f", '{"x": 2}')]


@pytest.mark.parametrize(
    "chunks",
    [
        [[part_of('{"x": 1}', "f", id="a")], [part_of('{"x": 2}', "f", id="b")]],
        [[part_of('{"x": 1}', "f", id="a", index=0)], [part_of('{"x": 2}', "f", id="b", index=0)]],
        [[part_of('{"x": 1}', "f", id="a", index=1)], [part_of('{"x": 2}', "f", id="b", index=2)]],
        [[part_of('{"x": 1}', "f", id="a"), part_of('{"x": 2}', "f", id="b")]],
        [
            [part_of("", "f", id="a", index=0)],
            [part_of('{"x"', index=0), part_of("", "f", id="b", index=1)],
            [part_of('{"x": ', "f", id="b", index=1), part_of(": 1}", index=0)],
            [part_of("2}", index=1)],
        ],
        [
            [part_of('{"x": ', "f", id="a")],
            [part_of("1}", id="made up")],
            [part_of('{"x": ', "f", id="b")],
            [part_of("2}")],
        ],
    ],
)
def test_calls_of_tools_are_told_apart_however_servers_number_them(chunks: list[Any]) -> None:
    """By index, by id, or by neither."""
    assert calls_of(*chunks) == TWO


def test_calls_without_ids_are_told_apart_by_their_names() -> None:
    """A name that is repeated in the midst of arguments begins nothing."""
    one = [part_of('{"x": ', "f", index=0)], [part_of("1}", "f", index=0)]
    assert calls_of(*one, [part_of("{}", "f", index=0)]) == [("", "f", '{"x": 1}'), ("", "f", "{}")]
    assert calls_of([part_of("", "f")], [part_of("{}", "g")]) == [("", "f", ""), ("", "g", "{}")]
    with pytest.raises(MalformedError):
        calls_of([part_of("{}")])


def test_long_calls_without_ids_are_told_apart() -> None:
    """A name that is the same begins another call behind arguments of any length."""
    long = f'{{"x": "{"y" * 2**17}"}}'
    pieces = [part_of(long[:2], "f")], [part_of(long[2 : 2**17])], [part_of(long[2**17 :])]
    assert calls_of(*pieces, [part_of("{}", "f")]) == [("", "f", long), ("", "f", "{}")]


VALUES = st.recursive(
    st.integers() | st.booleans() | st.text('{}[]"\\\n \u1234a'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('{}"\\a'), inner, max_size=3),
)


@given(st.dictionaries(st.text('{}"\\a'), VALUES, max_size=3) | st.lists(VALUES, max_size=3), st.data())
def test_arguments_are_whole_at_their_end_however_they_are_cut(value: Any, data: st.DataObject) -> None:
    """And never before it, whatever brackets and escapes their strings have; nor with more behind them."""
    text = json.dumps(value, ensure_ascii=data.draw(st.booleans()))
    cuts = sorted(data.draw(st.lists(st.integers(1, len(text) - 1))))
    arguments = Arguments()
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        assert not arguments.are_whole
        arguments.add(text[start:end])
        assert arguments.are_open is (0 < end < len(text))
    arguments.add(" \n")
    assert arguments.are_whole
    arguments.add("x")
    assert not arguments.are_whole


def told_of(*deltas: dict[str, Any], ends: bool = True) -> list[tuple[str, str]]:
    """What is told of a server's chunks, in order: texts and thoughts, and calls by their indices."""
    chunks, found = Chunks(1), list[tuple[str, str]]()
    read = [{"index": 0, "delta": delta, "token_ids": [7]} for delta in deltas]
    if ends:
        read[-1] |= {"finish_reason": "stop"}
    items = [item for told in read for item in chunks.read(json.dumps({"choices": [told]}).encode())]
    if not ends:
        items += chunks.cut(pb.FINISH_REASON_DEADLINE)
    ids = 0
    for item in items:
        delta = response_of(item).delta if isinstance(item, PlainDelta) else item.delta
        assert bool(delta.text) + bool(delta.reasoning) + bool(delta.tool_calls) <= 1
        ids += len(delta.token_ids)
        for kind, words in (
            *(("text", delta.text), ("reasoning", delta.reasoning)),
            *((f"call {part.index}", part.arguments) for part in delta.tool_calls),
        ):
            if words and found and found[-1][0] == kind:
                found[-1] = (kind, found[-1][1] + words)
            elif words:
                found.append((kind, words))
    assert ids == len(deltas)
    return found


def test_what_comes_in_one_chunk_is_told_one_after_another() -> None:
    """Thoughts, then words, then calls."""
    calls = [part_of('{"x": 1}', "f", id="a", index=0), part_of("{}", "f", id="b", index=1)]
    everything = {"content": "b", "reasoning": "a", "tool_calls": calls}
    expected = [("reasoning", "a"), ("text", "b"), ("call 0", '{"x": 1}'), ("call 1", "{}")]
    assert told_of(everything) == expected


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        (
            [
                {"tool_calls": [part_of('{"x"', "f", id="a", index=0)], "content": "Hm"},
                {"content": " and", "tool_calls": [part_of("{", "f", id="b", index=1)]},
                {"content": " then", "tool_calls": [part_of(": 1}", index=0), part_of("}", index=1)]},
                {"content": "."},
            ],
            [("text", "Hm"), ("call 0", '{"x": 1}'), ("text", " and"), ("call 1", "{}"), ("text", " then.")],
        ),
        (
            [
                {"tool_calls": [part_of("{", "f", id="a", index=0)]},
                {"content": "never whole"},
                {"tool_calls": [part_of("{", "f", id="b", index=1)]},
                {"reasoning": "hm", "tool_calls": [part_of("}", index=1)]},
            ],
            [("call 0", "{"), ("text", "never whole"), ("call 1", "{}"), ("reasoning", "hm")],
        ),
        (
            [
                {"tool_calls": [part_of("{}", "f", id="a", index=0)]},
                {"content": "Done."},
                {"tool_calls": [part_of(" ", index=0)]},
            ],
            [("call 0", "{}"), ("text", "Done.")],
        ),
        (
            [
                {"tool_calls": [part_of("", name, id=name, index=at)]}
                if arguments is None
                else {"tool_calls": [part_of(arguments, index=at)]}
                for at, name, arguments in ((0, "f", None), (1, "g", None), (0, "f", "{}"), (1, "g", "[]"))
            ],
            [("call 0", "{}"), ("call 1", "[]")],
        ),
    ],
)
def test_nothing_comes_between_the_parts_of_a_call(
    deltas: list[dict[str, Any]], expected: list[tuple[str, str]], ends: bool
) -> None:
    """What a server says meanwhile waits until the call is whole, or for the end."""
    assert told_of(*deltas, ends=ends) == expected


@pytest.mark.parametrize(
    "parts",
    [
        [part_of("", "f", id="a", index=0)],
        [part_of("", "f", id="a", index=0), part_of("", "g", id="b", index=1)],
        [
            part_of('{"x": "', "f", id="a", index=0),
            *[part_of("y" * 2**12, index=0)] * 32,
            part_of('"}', index=0),
        ],
    ],
    ids=["no parameters", "two of no parameters", "long"],
)
def test_a_whole_call_holds_nothing_back(parts: list[dict[str, Any]]) -> None:
    """Neither one of a function without parameters, whose arguments are empty, nor a long one."""
    chunks, told = Chunks(1), []
    for delta in (*({"tool_calls": [part]} for part in parts), {"content": "x" * 2**19}):
        choice = {"index": 0, "delta": delta}
        told.append(chunks.read(json.dumps({"choices": [choice]}).encode()))
    assert isinstance(told[-1][-1], PlainDelta)


def test_a_call_that_goes_on_behind_what_followed_is_none_of_the_api() -> None:
    """It was whole; nor is any amount kept for one that never is."""
    whole = {"tool_calls": [part_of("{}", "f", id="a", index=0)]}
    with pytest.raises(MalformedError):
        told_of(whole, {"content": "Done."}, {"tool_calls": [part_of('{"x": 1}', index=0)]})
    with pytest.raises(MalformedError):
        told_of({"tool_calls": [part_of("{", "f", id="a", index=0)]}, {"content": "x" * 2**19})
