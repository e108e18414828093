"""`inferloom top` and `inferloom explain`, as a person types them, against real processes."""

import json
import re
from pathlib import Path

import pytest
from openai import OpenAI

from tests.mesh.conftest import CHAT
from tests.mesh.processes import INFERLOOM, Mesh, run
from tests.mesh.terminal import terminal


def test_a_request_is_explained_by_its_name(demo: Mesh, client: OpenAI) -> None:
    """In words and as JSON; one that nobody knows says where was looked."""
    answer = client.chat.completions.with_raw_response.create(
        model=CHAT, max_tokens=4, messages=[{"role": "user", "content": "A secret."}]
    )
    name = answer.headers["x-request-id"]
    command = (*INFERLOOM, "explain", "--gateway", demo.grpc)
    told = " ".join(run(*command, name).stdout.split())
    assert f"request {name} was answered after" in told
    # Its epoch is 1 unless others of these tests' requests have kept it from renewing its lease.
    assert re.search(r"sent to worker-1 \(epoch \d+\)", told)
    for words in ("prompt tokens read in", "was answered with 4 tokens"):
        assert words in told
    assert "secret" not in told
    [record] = json.loads(run(*command, "--json", name).stdout)["records"]
    assert (record["request_id"], record["completion_tokens"]) == (name, "4")
    unknown = run(*command, "nobody", check=False)
    assert unknown.returncode == 1
    assert "Looked at 1 gateway process, of" in unknown.stderr
    assert "the last 1000 that ended" in unknown.stderr


def test_top_shows_the_mesh_once_where_it_is_piped(demo: Mesh) -> None:
    """As text, and as JSON."""
    command = (*INFERLOOM, "top", "--gateway", demo.grpc)
    text = run(*command).stdout
    assert "worker-1" in text
    assert "\x1b" not in text
    seen = json.loads(run(*command, "--once", "--json").stdout)
    assert [worker["id"] for worker in seen["workers"]] == ["worker-1"]


@pytest.mark.slow
def test_top_redraws_resizes_and_leaves(demo: Mesh, tmp_path: Path) -> None:
    """A wide terminal has more columns than a narrow one; q leaves, and the screen is as it was before."""
    with terminal(tmp_path, "top", "--gateway", demo.grpc, size=(140, 30)) as screen:
        screen.expect(r"WORKER +ZONE +STATE +MODELS +RUN +WAIT +CALLS +ROOM +KV")
        screen.resize(80, 24)
        screen.expect(r"WORKER +STATE +MODELS +RUN +WAIT +KV")
        run(*INFERLOOM, "chat", "--gateway", demo.grpc, CHAT, "--message", "Hi", "--max-tokens", "4")
        screen.expect(r"0\.1 req/s")
        screen.type("q")
        assert screen.status() == 0
