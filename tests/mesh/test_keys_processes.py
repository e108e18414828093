"""Keys with real processes: a mesh that asks for them, with two gateway processes."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

import pytest

from inferloom_gateway.access.api_key import ApiKey, Limits
from inferloom_gateway.access.key_text import digest_of, new_key
from inferloom_gateway.access.stores.sqlite import SqliteStore
from inferloom_mesh.net import Address
from tests.mesh.processes import INFERLOOM, Mesh, inferloom, run
from tests.patience import PATIENCE_S, until

BODY = '{"model": "echo", "prompt": "a b c", "max_tokens": 2}'

REVOKED_LIMIT_S = 20.0
"""Five seconds are promised, and a look at the store each second keeps that; the rest is for the machine."""


def ask(address: str, key: str) -> int:
    """One completion on a connection of its own; the status."""
    host, port = Address.parse(address)
    connection = HTTPConnection(host, port, timeout=PATIENCE_S)
    try:
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        connection.request("POST", "/v1/completions", BODY, headers)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.slow
def test_a_mesh_with_keys(up: Callable[..., Mesh], tmp_path: Path) -> None:
    """Limits are shared by two processes to the request, commands show keys, a revocation reaches both."""
    store = SqliteStore(tmp_path / "keys.db", create=True)
    texts = []
    for limits in (Limits(requests_per_minute=20), Limits()):
        name, text = new_key()
        store.put_key(ApiKey(name, digest_of(text), "acme", limits=limits))
        texts.append(text)
    limited, free = texts
    mesh = up("--model", "echo=echo", "--gateway-processes", "2", "--keys", str(tmp_path / "keys.db"))
    rest = mesh.made["rest"]
    assert "INFERLOOM_MESH_SECRET_FILE=" in mesh.output
    assert "$INFERLOOM_API_KEY" in mesh.output

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: ask(rest, limited), range(30)))
    assert sorted(statuses) == [200] * 20 + [429] * 10

    at = ("--gateway", mesh.grpc, "--registry", mesh.registry)
    refused = run(*INFERLOOM, "models", *at, check=False)
    assert refused.returncode == 1
    assert "--api-key" in refused.stderr
    assert "echo" in inferloom("models", *at, "--api-key", free)

    found = store.read()[1].keys[free[6:18]]
    store.put_key(replace(found, revoked=time.time()))
    until(
        lambda: {ask(rest, free) for _ in range(8)},
        "the revocation, which takes each process a second",
        lambda statuses: statuses == {401},
        REVOKED_LIMIT_S,
    )

    def used() -> int:
        return sum(row.requests for row in store.usage("0") if row.key == limited[6:18])

    until(used, "usage", lambda requests: requests == 20)
