"""What a server is asked when its model is loaded, and who may have one loaded."""

import asyncio
from typing import Any

import pytest

from inferloom.v1 import worker_pb2
from inferloom_mesh.errors import Reason
from inferloom_worker.sourcing.sources import SourceError
from tests.wire.running_worker import refused, running_worker
from tests.worker.sidecar.fake_server import FakeServer, Say, chunk, event, fake_server
from tests.worker.sidecar.served import ask, card_of, spec


@pytest.mark.parametrize(
    ("template", "reads"),
    [
        ("{{ messages[0].content }}{{ reasoning_effort }}", True),
        ("{{ messages[0].content }}", False),
        ("{{ messages[0].content", False),
        ("{{ " + "(" * 20_000, False),
    ],
)
async def test_a_llama_servers_template_says_what_it_reads(template: str, reads: bool) -> None:
    """What is no template tells nothing."""
    fake = FakeServer(kind="llama-server", template=template)
    async with fake_server(fake) as server, running_worker(spec(server)) as worker:
        assert ("reasoning_effort" in (await card_of(worker)).supported_parameters) is reads


async def test_places_are_as_many_as_it_runs_and_load_is_what_it_says() -> None:
    """Of two, one of them is another's."""
    release = asyncio.Event()

    async def script(body: dict[str, Any], say: Say) -> None:
        await release.wait()
        await say(event(chunk("a", finish="stop")))

    server = FakeServer(kind="llama-server", model={"id": "m", "meta": {"n_vocab": 10}}, script=script)
    async with fake_server(server), running_worker(spec(server)) as worker:
        card = await card_of(worker)
        assert (card.context_length, card.vocabulary_size, card.server) == (64, 10, "llama-server b1")
        assert card.sampling_defaults.top_k == 40
        calls = [asyncio.create_task(worker.generate(ask())) for _ in range(3)]
        await worker.until(running=2, waiting=1)
        release.set()
        assert [answer.text() for answer in await asyncio.gather(*calls)] == ["a"] * 3


async def test_a_vllm_server_without_a_parser_for_calls_is_a_model_without_tools() -> None:
    """It refuses them, which it is asked at load."""
    servers = [
        (FakeServer(), True),
        (FakeServer(takes_tools=False), False),
        (FakeServer(takes_tools=False, no_tools="a longer prompt"), True),  # it refused something else
    ]
    for fake, takes_tools in servers:
        async with fake_server(fake) as server, running_worker(spec(server)) as worker:
            assert ("tools" in (await card_of(worker)).supported_parameters) is takes_tools


async def test_a_caller_loads_a_server_and_names_no_key() -> None:
    """A file of the worker's machine could be sent to anybody otherwise."""
    async with fake_server() as server, running_worker(spec(server), server_hosts="127.0.0.1") as worker:
        load = worker.control.LoadModel
        for key in ("key_file=/etc/hostname", "key_env=HOME", "model=m&ke\ty_env=HOME"):
            asked = worker_pb2.LoadModelRequest(model="other", spec=f"sidecar:{server.url}?{key}")
            error = await refused(load(asked))
            assert (error.reason, error.param) == (Reason.INVALID_ARGUMENT, "spec")
        loaded = await load(worker_pb2.LoadModelRequest(model="other", spec=server.url))
        assert (loaded.model.id, loaded.model.engine) == ("other", "sidecar")


async def test_a_caller_loads_no_server_that_the_worker_does_not_name() -> None:
    """By default none: the worker would ask whatever it reaches for him, and repeat what that says."""
    async with fake_server() as server, running_worker("echo=echo") as worker:
        for url in (server.url, f"sidecar:{server.url}"):
            load = worker_pb2.LoadModelRequest(model="other", spec=url)
            error = await refused(worker.control.LoadModel(load))
            assert (error.reason, error.param) == (Reason.INVALID_ARGUMENT, "spec")
            assert "server_hosts" in error.message
        assert server.seen == []


async def test_a_server_that_cannot_be_served_ends_the_worker() -> None:
    """It says why; trying again would not help."""
    async with fake_server(FakeServer(key="k-12345")) as server:
        for query, words in (
            ({}, "refuses the key"),
            ({"model": "other"}, "refuses the key"),
            ({"key_env": "NO_SUCH"}, "no variable NO_SUCH"),
        ):
            with pytest.raises(SourceError, match=words):
                async with running_worker(spec(server, **query)):
                    pass
