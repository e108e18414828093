"""The parts of the sidecar engine that need no server: addresses, events, requests, places."""

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.constrain.reading import read_constraint
from inferloom_worker.engine.queue_bound import QueueBound
from inferloom_worker.engines.registry import names, split_engine
from inferloom_worker.engines.sidecar import watch
from inferloom_worker.engines.sidecar.address import Key, ServerAddress
from inferloom_worker.engines.sidecar.client import Answer, Client
from inferloom_worker.engines.sidecar.constraints import constraint
from inferloom_worker.engines.sidecar.discovery import discover
from inferloom_worker.engines.sidecar.facts import Facts, UnfitError
from inferloom_worker.engines.sidecar.failures import refused
from inferloom_worker.engines.sidecar.gauges import gauges, kv_tokens
from inferloom_worker.engines.sidecar.kinds import MANNERS, ServerKind
from inferloom_worker.engines.sidecar.places import Place, Places
from inferloom_worker.engines.sidecar.request import server_request
from inferloom_worker.engines.sidecar.sse import EventReader, MalformedError
from inferloom_worker.hosting.sidecar.card import card
from inferloom_worker.hosting.sidecar.chunks import Chunks
from inferloom_worker.hosting.sidecar.tool_calls import ToolCalls
from inferloom_worker.hosting.sidecar.vectors import ServerEmbedder
from inferloom_worker.output.completion import PlainDelta
from inferloom_worker.sourcing.sources import SourceError, parse_model_flag
from inferloom_worker.validate.generate import read_generate
from tests.patience import PATIENCE_S


def test_a_servers_address_says_what_people_type() -> None:
    """With or without ``/v1``, and a name where none is given is the model's."""
    address = ServerAddress.parse(
        "http://127.0.0.1:8080/v1/?model=a%2Fb&key_env=KEY&slots=4&tasks=chat+embed"
    )
    assert (address.root, address.api) == ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1")
    assert (address.model, address.key_env, address.slots) == ("a/b", "KEY", 4)
    assert address.tasks == ("chat", "embed")
    assert ServerAddress.parse("https://[::1]").api == "https://[::1]/v1"
    assert ServerAddress.parse("http://h/p/v1").root == "http://h/p"
    assert parse_model_flag("chat=sidecar:http://h/v1?model=m") == ("chat", "sidecar:http://h/v1?model=m")
    assert parse_model_flag("http://h/v1?model=m") == ("m", "http://h/v1?model=m")
    with pytest.raises(SourceError, match="name what a server serves"):
        parse_model_flag("sidecar:http://h/v1")
    assert split_engine("http://h/v1?model=m") == ("sidecar", "http://h/v1?model=m")
    assert split_engine("sidecar:http://h/v1") == ("sidecar", "http://h/v1")
    assert split_engine("torch:" + "x" * 5000) == ("torch", "x" * 5000)
    assert "sidecar" in names()


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("ftp://h", "given as http"),
        ("http://", "given as http"),
        ("http://h:x", "no URL"),
        ("http://user:hunter2@h/v1", "does not belong in a URL"),
        ("http://h/v1?api_key=hunter2", "is no option"),
        ("http://h/v1?model=a&model=b", "twice"),
        ("http://h/v1?slots=0", "between 1 and"),
        ("http://h/v1?kind=tgi", "kind is one of"),
        ("http://h/v1?tasks=sing", "tasks are"),
        ("http://h/v1?key_env=A&key_file=B", "exclude each other"),
        ("http://h/v1?model=x&ke\ty_env=A", "no control characters"),
        ("http:/\t/h/v1?key_file=A", "no control characters"),
        ("http://h/v1?model=a b", "no spaces"),
    ],
)
def test_what_is_no_servers_address_is_refused_without_repeating_secrets(spec: str, words: str) -> None:
    """Whatever could be one."""
    with pytest.raises(ValueError, match=words) as caught:
        ServerAddress.parse(spec)
    assert "hunter2" not in str(caught.value)


def test_keys_come_from_files_and_variables_and_are_shown_nowhere(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in a repr either."""
    file = tmp_path / "key"
    file.write_text("  secret-1\n")
    monkeypatch.setenv("A_KEY", "secret-2")
    assert ServerAddress.parse(f"http://h?key_file={file}").read_key().value == "secret-1"
    assert ServerAddress.parse("http://h?key_env=A_KEY").read_key().value == "secret-2"
    assert ServerAddress.parse("http://h").read_key().value == ""
    assert "secret" not in repr(Key("secret-1"))
    assert Key("secret-1").hidden_in("no secret-1 here") == "no [key] here"
    monkeypatch.setenv("A_KEY", "two words")
    with pytest.raises(ValueError, match="one word") as caught:
        ServerAddress.parse("http://h?key_env=A_KEY").read_key()
    assert "two words" not in str(caught.value)
    with pytest.raises(ValueError, match="cannot be read"):
        ServerAddress.parse(f"http://h?key_file={tmp_path}").read_key()


KEYED = ("http://h?key_file=/x", "http://h/v1?model=a&key_env=B", "http://h?%6bey_file=/x")


@given(st.sampled_from(KEYED), st.lists(st.tuples(st.integers(0, 40), st.sampled_from("\t\r\n \0;#/"))))
def test_a_call_names_no_key_however_it_is_written(spec: str, more: list[tuple[int, str]]) -> None:
    """Whatever is read with a key is refused without one allowed."""
    for at, what in more:
        spec = spec[:at] + what + spec[at:]
    with suppress(ValueError):
        address = ServerAddress.parse(spec, keys_allowed=False)
        assert address.key_env is None
        assert address.key_file is None
    if not more:
        with pytest.raises(ValueError, match="not by a call"):
            ServerAddress.parse(spec, keys_allowed=False)
        assert ServerAddress.parse(spec)


def test_hosts_are_compared_whole() -> None:
    """With a port where one is given."""
    hosts = ("h", "[::1]:80", "g:8080")
    for spec in ("http://h", "https://H:9/v1", "http://[::1]/v1", "http://g:8080"):
        assert ServerAddress.parse(spec).is_at(hosts), spec
    for spec in ("http://h.evil", "http://[::1]:81", "http://g", "http://x/h", "http://x?model=h"):
        assert not ServerAddress.parse(spec).is_at(hosts), spec


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


def facts_of(kind: ServerKind, **more: Any) -> Facts:
    """A server of a kind that chats and completes."""
    tasks = frozenset({"chat", "completion"})
    return Facts(kind=kind, version="", model="m", tasks=tasks, context_length=4096, **more)


def body_of(request: pb.GenerateRequest, kind: ServerKind) -> dict[str, Any]:
    """What a server of a kind is asked for."""
    facts = facts_of(kind)
    return server_request(read_generate(request, 2**31), facts, "tenant\0salt").body


def test_a_conversation_is_openais_json() -> None:
    """Calls, results, reasoning and tools; of several tools only those that may be called."""
    chat = pb.ChatInput()
    chat.messages.add(role=pb.ROLE_DEVELOPER).parts.add(text="be")
    chat.messages.add(role=pb.ROLE_USER, name="ann").parts.add(text="hi")
    turn = chat.messages.add(role=pb.ROLE_ASSISTANT)
    turn.parts.add(reasoning="hm")
    turn.parts.add().tool_call.CopyFrom(pb.ToolCall(id="c", name="look", arguments="{}"))
    chat.messages.add(role=pb.ROLE_TOOL).parts.add().tool_result.CopyFrom(
        pb.ToolResult(tool_call_id="c", content="42")
    )
    chat.tools.add(name="look", description="d", parameters_json_schema='{"type": "object"}')
    chat.tools.add(name="other")
    chat.tool_choice.mode = pb.TOOL_CHOICE_MODE_REQUIRED
    chat.tool_choice.allowed_names.append("look")
    chat.template.variables.update({"enable_thinking": False, "budget": 5})
    body = body_of(pb.GenerateRequest(model="x", chat=chat), ServerKind.VLLM)
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    assert body["messages"] == [
        {"role": "system", "content": "be"},
        {"role": "user", "content": "hi", "name": "ann"},
        {"role": "assistant", "content": None, "reasoning": "hm", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "42"},
    ]
    function = {"name": "look", "parameters": {"type": "object"}, "description": "d"}
    assert body["tools"] == [{"type": "function", "function": function}]
    assert body["tool_choice"] == "required"
    assert body["chat_template_kwargs"] == {"enable_thinking": False, "budget": 5}
    assert "tenant" not in json.dumps(body)
    assert len(body["cache_salt"]) == 32


def test_a_server_whose_model_has_no_place_for_tools_is_given_none() -> None:
    """It would drop them, so they are not on the card, and refused."""
    facts = facts_of(ServerKind.LLAMA, lacks=frozenset({"tools", "tool_choice", "parallel_tool_calls"}))
    assert not {"tools", "tool_choice"} & set(card("m", facts).supported_parameters)
    chat = pb.ChatInput()
    chat.messages.add(role=pb.ROLE_USER).parts.add(text="hi")
    chat.tools.add(name="look")
    with pytest.raises(InferloomError) as refusal:
        server_request(read_generate(pb.GenerateRequest(model="x", chat=chat), 2**31), facts)
    assert (refusal.value.reason, refusal.value.param) == (Reason.UNSUPPORTED_PARAMETER, "chat.tools")
    chat.tool_choice.mode = pb.TOOL_CHOICE_MODE_NONE
    body = server_request(read_generate(pb.GenerateRequest(model="x", chat=chat), 2**31), facts).body
    assert not {"tools", "tool_choice"} & body.keys()  # nothing is to be called, so nothing is missed


def test_a_penalty_of_nothing_is_none() -> None:
    """Some clients always send their neutral values; the server's own penalty keeps its window."""
    sampling = pb.SamplingOptions(presence_penalty=0, frequency_penalty=0, repetition_penalty=1)
    body = body_of(pb.GenerateRequest(model="x", text="t", sampling=sampling), ServerKind.LLAMA)
    assert "repeat_last_n" not in body
    sampling.presence_penalty = 0.5
    body = body_of(pb.GenerateRequest(model="x", text="t", sampling=sampling), ServerKind.LLAMA)
    assert body["repeat_last_n"] == 4096


@pytest.mark.parametrize(
    ("kind", "kinds"),
    [
        (ServerKind.VLLM, ["json_schema", "json_object", "regex", "choice", "lark", "gbnf"]),
        (ServerKind.LLAMA, ["json_schema", "json_object", "choice", "gbnf"]),
        (ServerKind.OPENAI, ["json_schema", "json_object"]),
    ],
)
def test_a_card_tells_which_constraints_a_server_holds_answers_to(kind: ServerKind, kinds: list[str]) -> None:
    """Of each kind of server its own."""
    assert list(card("m", facts_of(kind)).constraints) == kinds


def test_each_kind_has_its_own_spelling() -> None:
    """Of what differs."""
    sampling = pb.SamplingOptions(repetition_penalty=1.1, seed=2**64 - 1, logit_bias={5: -1})
    stopping = pb.StoppingOptions(include_stop=True, stop=["a"])
    request = pb.GenerateRequest(model="x", text="t", sampling=sampling, stopping=stopping)
    body = body_of(request, ServerKind.VLLM)
    assert (body["repetition_penalty"], body["seed"]) == (1.1, 2**63 - 1)
    assert body["include_stop_str_in_output"] is True
    assert body["logit_bias"] == {"5": -1.0}
    assert body["max_tokens"] is None
    request.stopping.ClearField("include_stop")
    body = body_of(request, ServerKind.LLAMA)
    assert (body["repeat_penalty"], body["repeat_last_n"], body["seed"]) == (1.1, 4096, 2**31 - 1)
    assert body["return_tokens"] is True
    assert "max_tokens" not in body


@pytest.mark.parametrize(
    ("asked", "kind", "made"),
    [
        (
            {"json_schema": '{"type": "null"}'},
            ServerKind.VLLM,
            {"structured_outputs": {"json": {"type": "null"}}},
        ),
        ({"json_object": True}, ServerKind.VLLM, {"structured_outputs": {"json_object": True}}),
        ({"regex": "a+"}, ServerKind.VLLM, {"structured_outputs": {"regex": "a+"}}),
        ({"json_schema": '{"type": "null"}'}, ServerKind.LLAMA, {"json_schema": {"type": "null"}}),
        ({"choice": {"texts": ["a", 'b"']}}, ServerKind.LLAMA, {"grammar": 'root ::= "a" | "b\\""'}),
        ({"lark": 'root ::= "a"'}, ServerKind.LLAMA, {"grammar": 'root ::= "a"'}),
        ({"lark": 'start: "a"'}, ServerKind.LLAMA, None),
        ({"regex": "a+"}, ServerKind.LLAMA, None),
        ({"choice": {"texts": ["a.b"]}}, ServerKind.SGLANG, {"regex": "(a\\.b)"}),
        ({"json_object": True}, ServerKind.OLLAMA, {"response_format": {"type": "json_object"}}),
        ({"regex": "a"}, ServerKind.OPENAI, None),
    ],
)
def test_constraints_are_spelled_or_refused_by_name(
    asked: dict[str, Any], kind: ServerKind, made: dict[str, Any] | None
) -> None:
    """As each kind has them."""
    grammar = read_constraint(pb.Constraint(**asked))
    if made is not None:
        assert constraint(grammar, kind, chat=True) == made
        return
    with pytest.raises(InferloomError) as caught:
        constraint(grammar, kind, chat=True)
    assert caught.value.reason is Reason.UNSUPPORTED_PARAMETER
    assert caught.value.param == grammar.param


def test_every_parameter_of_every_kind_is_the_contracts() -> None:
    """And is on the card of a server that has it."""
    for kind, manner in MANNERS.items():
        facts = Facts(kind=kind, version="1", model="m", tasks=frozenset({"chat", "completion"}))
        listed = set(card("x", facts).supported_parameters)
        assert {*manner.parameters, *manner.chat_parameters} <= listed
        assert "resume" not in listed


def test_gauges_are_summed_and_nothing_else_is_looked_at() -> None:
    """Of engines of one server."""
    body = b"""# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a b"} 3.0
vllm:num_requests_running{engine="1"} 2.0
vllm:num_requests_running_total 7
vllm:num_requests_waiting nonsense
vllm:cache_config_info{block_size="16",num_gpu_blocks="100"} 1.0
"""
    assert gauges(body, ["vllm:num_requests_running", "vllm:num_requests_waiting"]) == {
        "vllm:num_requests_running": 5.0
    }
    assert kv_tokens(body) == 1600


@given(st.integers(100, 599), st.binary(max_size=50), st.text(max_size=9))
def test_any_refusal_has_a_row(status: int, body: bytes, retry: str) -> None:
    """And bounded words."""
    error = refused(status, body, retry)
    assert error.reason in Reason
    assert error.message


async def test_places_are_given_by_priority_and_by_tenants_in_turn() -> None:
    """Who leaves the queue holds nobody up."""
    places = Places(1, QueueBound(8, 60))
    first = places.join(1, "a", 0, None)
    order: list[str] = []

    async def stand(name: str, tenant: str, priority: int) -> None:
        place = places.join(1, tenant, priority, None)
        try:
            await place.come()
            order.append(name)
        finally:
            place.leave()

    tasks = []
    for each in (("a1", "a", 0), ("a2", "a", 0), ("b1", "b", 0), ("low", "c", -5), ("gone", "d", 0)):
        tasks.append(asyncio.create_task(stand(*each)))
        await asyncio.sleep(0)
    tasks[-1].cancel()
    await asyncio.sleep(0)
    assert (places.taken, places.waiting) == (1, 4)
    first.leave()
    first.leave()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == ["a1", "b1", "a2", "low"]
    assert (places.taken, places.waiting) == (0, 0)


@settings(max_examples=40)
@given(
    st.tuples(st.just(1), st.lists(st.tuples(st.integers(1, 6), st.just(1)), min_size=2, max_size=5))
    | st.tuples(st.just(4), st.lists(st.tuples(st.integers(4, 8), st.integers(1, 4)), min_size=2, max_size=5))
)
def test_tenants_that_always_wait_get_as_many_places(given: tuple[int, list[tuple[int, int]]]) -> None:
    """However many of their requests wait, and however many places each takes."""
    slots, tenants = given

    async def run() -> list[int]:
        places = Places(slots, QueueBound(10_000, 1e9))
        held = [places.join(slots, "before", 0, None)]
        waiting: list[list[Place]] = [[] for _ in tenants]
        had = [0] * len(tenants)
        for _ in range(200):
            for name, (many, count) in enumerate(tenants):
                while len(waiting[name]) < many:
                    waiting[name].append(places.join(count, f"{name}", 0, None))
            held.pop(0).leave()
            for name, (_, count) in enumerate(tenants):
                come = [place for place in waiting[name] if place.here]
                waiting[name] = [place for place in waiting[name] if not place.here]
                held += come
                had[name] += count * len(come)
        assert places.taken <= slots
        return had

    had = asyncio.run(run())
    assert max(had) - min(had) <= 2 * slots, had


async def test_who_always_has_one_waiting_does_not_starve_the_others() -> None:
    """He has had his turn when he comes again."""
    places = Places(1, QueueBound(8, 1e9))
    held = places.join(1, "busy", 0, None)
    patient = [places.join(1, "patient", 0, None) for _ in range(3)]
    for _ in range(6):
        again = places.join(1, "busy", 0, None)
        held.leave()
        held = next(place for place in (again, *patient) if place.here and place is not held)
        patient = [place for place in patient if not place.here]
        if held is not again:
            again.leave()
    assert not patient
    held.leave()
    assert (places.taken, places.waiting) == (0, 0)


async def test_more_places_are_given_at_once() -> None:
    """And who has one of fewer keeps it."""
    places = Places(1, QueueBound(8, 1e9))
    first, second = (places.join(1, tenant, 0, None) for tenant in "ab")
    assert (first.here, second.here) == (True, False)
    places.resize(2)
    assert second.here
    places.resize(1)
    assert places.taken == 2


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


async def test_a_watch_outlives_what_nobody_foresaw(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the model comes back with the next look that is fine."""
    monkeypatch.setattr(watch, "BEAT_S", 0.001)
    facts = Facts(kind=ServerKind.VLLM, version="", model="m", tasks=frozenset({"chat"}))
    found: list[Exception | Facts] = [TypeError("aliases"), ValueError("top_k"), facts]
    answers = [503, 200, 200, 200]

    class OneClient(Client):
        async def get(self, url: str, **_: Any) -> Answer:
            return Answer(answers.pop(0) if answers else 200, b"")

    async def discovered(_: Client) -> Facts:
        if isinstance(it := found.pop(0), Exception):
            raise it
        return it

    monkeypatch.setattr(watch, "discover", discovered)
    changes: list[str | None] = []
    client = OneClient(ServerAddress.parse("http://h"), Key(""))
    back = asyncio.Event()

    def changed() -> None:
        changes.append(looking.away)
        if looking.away is None:
            back.set()

    looking = watch.Watch(client, facts, changed)
    async with asyncio.timeout(PATIENCE_S):
        await back.wait()
    await looking.close()
    assert changes[0] is not None
    assert changes[1] is None
    assert not found


@pytest.mark.parametrize("aliases", [5, "xmx", {"m": 1}])
async def test_an_alias_is_one_of_a_list_and_means_its_own_model(aliases: Any) -> None:
    """What is none is refused."""
    cards: list[dict[str, Any]] = [{"id": "a"}, {"id": "b", "aliases": ["m"], "max_model_len": 7}]

    class OneClient(Client):
        async def get(self, url: str, **_: Any) -> Answer:
            told = {"data": cards} if url.endswith("/models") else {}
            return Answer(200, json.dumps(told).encode())

    client = OneClient(ServerAddress.parse("http://h?model=m&kind=openai"), Key(""))
    found = await discover(client)
    assert (found.model, found.context_length) == ("m", 7)
    cards[1]["aliases"] = aliases
    with pytest.raises(UnfitError):
        await discover(client)


def test_numbers_without_end_are_no_numbers() -> None:
    """Python would refuse to read them."""
    many = b"9" * 5000
    assert kv_tokens(b'vllm:cache_config_info{block_size="' + many + b'",num_gpu_blocks="1"} 1.0') == 0


async def test_a_client_that_is_closed_says_that_the_server_is_lost() -> None:
    """Also to who came a moment too late."""
    client = Client(ServerAddress.parse("http://127.0.0.1:9"), Key(""))
    with pytest.raises(InferloomError):
        await client.post("http://127.0.0.1:9/v1/embeddings", {})
    await client.close()
    for url in ("embeddings", "rerank"):
        with pytest.raises(InferloomError, match="served no more") as caught:
            await client.post(f"http://127.0.0.1:9/v1/{url}", {})
        assert caught.value.reason is Reason.WORKER_LOST
    with pytest.raises(InferloomError, match="served no more"):
        await client.get("http://127.0.0.1:9/health")


@pytest.mark.parametrize("times", [1, 3])
async def test_a_request_that_a_server_may_have_read_is_not_sent_again(times: int) -> None:
    """Only one on a connection that had stayed open, and was closed meanwhile."""
    read: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        read.append(await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(2))
        if len(read) == times:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        root = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = Client(ServerAddress.parse(root), Key(""))
        for _ in range(times - 1):
            with pytest.raises(InferloomError, match="closed the connection"):
                await client.post(root, {})
        assert await client.post(root, {}) == {}
        assert len(read) == times
        with pytest.raises(InferloomError):
            await client.post(root, {})  # on the old connection, which is closed, and then on a new one
        assert len(read) == times + 1
        await client.close()


async def test_callers_who_count_tokens_do_not_make_a_server_seem_away() -> None:
    """Looks after it have connections of their own."""
    stuck = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"POST"):
            await stuck.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        root = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = Client(ServerAddress.parse(root), Key(""))
        asking = [asyncio.create_task(client.ask(f"{root}/tokenize", {})) for _ in range(9)]
        await asyncio.sleep(0.05)
        assert (await client.get(f"{root}/health", limit_s=PATIENCE_S)).status == 200
        stuck.set()
        assert {answer.status for answer in await asyncio.gather(*asking)} == {200}
        await client.close()


async def test_requests_for_vectors_wait_in_a_bounded_queue() -> None:
    """And those that are left before they begin leave no place taken."""
    go, asked = asyncio.Event(), list[str]()

    class OneClient(Client):
        async def post(self, url: str, body: object) -> dict[str, Any]:
            asked.append(url)
            await go.wait()
            return {"data": [{"index": 0, "embedding": [1.0]}]}

    facts = Facts(kind=ServerKind.LLAMA, version="", model="m", tasks=frozenset({"embed"}), dimensions=1)
    places = Places(1, QueueBound(1, 1e9))
    embedder = ServerEmbedder(OneClient(ServerAddress.parse("http://h"), Key("")), facts, places)
    streams = [embedder.embed([[1]], tenant) for tenant in "ab"]
    with pytest.raises(InferloomError) as caught:
        embedder.embed([[1]], "a")
    assert caught.value.reason is Reason.SERVER_OVERLOADED
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (places.taken, places.waiting, len(asked)) == (1, 1, 1)
    go.set()
    for stream in streams:
        assert [rows.tolist() async for _, rows in stream] == [[[1.0]]]
    await asyncio.sleep(0.01)
    streams = [embedder.embed([[1]], tenant) for tenant in "ab"]
    for stream in streams:
        stream.close()
    await asyncio.sleep(0.01)
    assert (places.taken, places.waiting) == (0, 0)


async def test_a_full_queue_refuses() -> None:
    """As every other model's."""
    places = Places(1, QueueBound(1, 60))
    held = [places.join(1, "a", 0, None), places.join(1, "a", 0, None)]
    with pytest.raises(InferloomError) as caught:
        places.join(1, "a", 0, None)
    assert caught.value.reason is Reason.SERVER_OVERLOADED
    for place in reversed(held):
        place.leave()
    assert places.taken == 0
