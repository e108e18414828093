"""Meshes of real processes, started once for all tests that leave them as they were."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import grpc
import pytest
from openai import OpenAI

from tests.mesh.processes import INFERLOOM, Mesh, Running, run

CHAT = "smollm2-135m-instruct"
EMBEDDER = "all-minilm-l6-v2"


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """`inferloom up` with no model named: both demo models on one worker. Leave it running."""
    run(*INFERLOOM, "pull", CHAT, EMBEDDER)  # so that its start is not measured with a download
    mesh = Mesh(tmp_path_factory.mktemp("demo"))
    yield mesh
    mesh.close()


@pytest.fixture
def client(demo: Mesh) -> Iterator[OpenAI]:
    """The OpenAI SDK, pointed at the demo mesh."""
    with OpenAI(base_url=demo.base_url, api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start services by hand; they are stopped after the test."""
    started: list[Running] = []

    def make(*args: str) -> Running:
        started.append(Running(tmp_path / f"{args[0]}-{len(started)}", *args))
        return started[-1]

    yield make
    for one in reversed(started):
        one.close()


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Mesh]]:
    """Start meshes of a test's own; they are stopped after it."""
    started: list[Mesh] = []

    def make(*args: str, settings: Mapping[str, str] | None = None) -> Mesh:
        started.append(Mesh(tmp_path / f"up-{len(started)}", *args, settings=settings))
        return started[-1]

    yield make
    for one in started:
        one.close()


@pytest.fixture
def channel(demo: Mesh) -> Iterator[grpc.Channel]:
    """A plain gRPC channel to the demo mesh's gateway, as an internal service opens it."""
    with grpc.insecure_channel(demo.grpc) as made:
        yield made
