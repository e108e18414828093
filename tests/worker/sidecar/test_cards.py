"""What is known of a server, by its own word, and what its card says of that."""

import asyncio
import errno
import json
import socket
import time
from contextlib import AsyncExitStack
from typing import Any

import pytest

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.engines.sidecar import watch
from inferloom_worker.engines.sidecar.address import ServerAddress
from inferloom_worker.engines.sidecar.client import Answer, Client
from inferloom_worker.engines.sidecar.discovery import discover
from inferloom_worker.engines.sidecar.facts import Facts, UnfitError
from inferloom_worker.engines.sidecar.failures import lost, unreached
from inferloom_worker.engines.sidecar.gauges import gauges, kv_tokens
from inferloom_worker.engines.sidecar.key import no_key
from inferloom_worker.engines.sidecar.kinds import MANNERS, ServerKind
from inferloom_worker.hosting.sidecar.card import card
from tests.patience import PATIENCE_S, until_async
from tests.worker.sidecar.facts import facts_of
from tests.worker.sidecar.fake_server import FakeServer, fake_server


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


async def test_a_watch_outlives_what_nobody_foresaw(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the model comes back with the next look that is fine."""
    monkeypatch.setattr(watch, "BEAT_S", 0.001)
    facts = Facts(kind=ServerKind.VLLM, version="", model="m", tasks=frozenset({"chat"}))
    found: list[Exception | Facts] = [facts, TypeError("aliases"), ValueError("top_k"), facts]
    answers = [200, 503, 200, 200, 200]

    class OneClient(Client):
        async def get(self, url: str, **_: Any) -> Answer:
            return Answer(answers.pop(0) if answers else 200, b"")

    async def discovered(_: Client) -> Facts:
        if isinstance(it := found.pop(0), Exception):
            raise it
        return it

    monkeypatch.setattr(watch, "discover", discovered)
    changes: list[str | None] = []
    client = OneClient(ServerAddress.parse("http://h"), no_key)
    back = asyncio.Event()

    def changed() -> None:
        changes.append(looking.away)
        if looking.away is None:
            back.set()

    looking = watch.Watch(client, "m", changed)
    await looking.begin()
    back.clear()
    async with asyncio.timeout(PATIENCE_S):
        await back.wait()
    await looking.close()
    assert [why is None for why in changes[:3]] == [True, False, True]
    assert not found


@pytest.mark.parametrize("aliases", [5, "xmx", {"m": 1}])
async def test_an_alias_is_one_of_a_list_and_means_its_own_model(aliases: Any) -> None:
    """What is none is refused."""
    cards: list[dict[str, Any]] = [{"id": "a"}, {"id": "b", "aliases": ["m"], "max_model_len": 7}]

    class OneClient(Client):
        async def get(self, url: str, **_: Any) -> Answer:
            told = {"data": cards} if url.endswith("/models") else {}
            return Answer(200, json.dumps(told).encode())

    client = OneClient(ServerAddress.parse("http://h?model=m&kind=openai"), no_key)
    found = await discover(client)
    assert (found.model, found.context_length) == ("m", 7)
    cards[1]["aliases"] = aliases
    with pytest.raises(UnfitError):
        await discover(client)


def test_numbers_without_end_are_no_numbers() -> None:
    """Python would refuse to read them."""
    many = b"9" * 5000
    assert kv_tokens(b'vllm:cache_config_info{block_size="' + many + b'",num_gpu_blocks="1"} 1.0') == 0


@pytest.mark.parametrize("kind", ["vllm", "openai", "llama-server"])
async def test_where_it_runs_and_its_version_are_not_what_a_model_is(kind: str) -> None:
    """Which of its servers answers is in the compute hash alone; other weights are another model."""

    async def found(**server: Any) -> Any:
        fake = await running.enter_async_context(fake_server(FakeServer(kind=kind, **server)))
        client = Client(ServerAddress.parse(fake.url), no_key)
        try:
            return card("m", await discover(client))
        finally:
            await client.close()

    async with AsyncExitStack() as running:  # side by side, so that each has a port of its own
        first, second = await found(), await found(version="1.0")
        other = await found(model={"id": "other", "root": "/w/other", "max_model_len": 100})
    assert first.definition_hash == second.definition_hash != ""
    assert first.compute_hash != second.compute_hash
    assert other.definition_hash != first.definition_hash


def test_how_much_a_server_reads_is_not_what_a_model_is() -> None:
    """Who starts it chooses that; but what it computes is told apart."""
    facts = facts_of(ServerKind.VLLM)
    short, long = card("m", facts, 100), card("m", facts, 200)
    assert short.definition_hash == long.definition_hash != ""
    assert short.compute_hash != long.compute_hash


async def test_calls_that_fail_have_a_server_looked_at_a_few_times_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many they are: a server that is in trouble has no need of more."""
    monkeypatch.setattr(watch, "LEAST_S", 0.05)
    asked: list[str] = []

    class OneClient(Client):
        async def get(self, url: str, **_: Any) -> Answer:
            asked.append(url)
            return Answer(200, json.dumps({"data": [{"id": "m"}]}).encode())

    looking = watch.Watch(OneClient(ServerAddress.parse("http://h?kind=openai"), no_key), "m", lambda: None)
    await looking.begin()
    began = time.monotonic()
    while len(asked) < 6:
        looking.look()
        await asyncio.sleep(0)
    took = time.monotonic() - began
    await looking.close()
    # One finds out what it is, one follows, and one is at once.
    assert took >= (len(asked) - 3) * 0.05


@pytest.mark.parametrize(
    ("failure", "vanished"),
    [
        (unreached(), False),
        (lost("it closed the connection"), False),
        (InferloomError(Reason.TIMEOUT, "late"), True),
    ],
)
async def test_only_of_a_server_that_says_nothing_nothing_more_is_awaited(
    failure: InferloomError, vanished: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the third look in a row on. One that refuses connections may stop in order, and works off what
    runs."""
    monkeypatch.setattr(watch, "BEAT_S", 0.01)
    looks, unheard, fails = 0, list[int](), False

    class OneClient(Client):
        async def get(self, url: str, **_: Any) -> Answer:
            nonlocal looks
            looks += fails
            if fails:
                raise failure
            return Answer(200, json.dumps({"data": [{"id": "m"}]}).encode())

    client = OneClient(ServerAddress.parse("http://h?kind=vllm"), no_key)
    looking = watch.Watch(client, "m", lambda: None, lambda: unheard.append(looks))
    await looking.begin()
    fails = True
    await until_async(lambda: looks, "looks in vain", lambda seen: seen >= 5)
    await looking.close()
    assert looking.away is not None
    assert unheard[:2] == ([3, 4] if vanished else [])


@pytest.mark.parametrize(
    ("cause", "silent"),
    [
        (OSError(errno.EHOSTUNREACH, "why"), True),
        (OSError(errno.ENETUNREACH, "why"), True),
        (socket.gaierror(socket.EAI_NONAME, "why"), True),
        (OSError(errno.ECONNREFUSED, "why"), False),
    ],
)
async def test_a_machine_that_cannot_be_reached_says_nothing(cause: OSError, silent: bool) -> None:
    """Nor does one to which there is no way, or whose name is none any more. One whose system refuses the
    connection is there."""
    error = unreached()
    error.__cause__ = cause
    assert watch._silent(error) == silent


async def test_what_keeps_a_server_from_being_reached_is_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A name that is not known, a refused connection, a certificate: callers hear the same of each."""
    client = Client(ServerAddress.parse("http://127.0.0.1:9"), no_key)
    looking = watch.Watch(client, "m", lambda: None)
    await looking.begin()
    await looking.close()
    await client.close()
    assert looking.away == "The model's server cannot be reached."
    assert "127.0.0.1:9" in caplog.text
    assert "Connect call failed" in caplog.text
