"""Two workers that have one name for two models."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.mesh.processes import Running, inferloom
from tests.patience import PATIENCE_S, until
from tests.worker import embedding_models


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_one_embeddings_response_is_made_by_one_model(start: Callable[..., Running], tmp_path: Path) -> None:
    """200 inputs, whose batches go out side by side, all get vectors of one length; and it is said."""
    registry = str(start("registry", "--listen", "127.0.0.1:0").report()["address"])
    folders = {
        "w1": embedding_models.bert(tmp_path / "wide"),  # vectors of 64 numbers
        "w2": embedding_models.bert_dense(tmp_path / "narrow"),  # of 32
    }
    for name, folder in folders.items():
        options = ("--listen", "127.0.0.1:0", "--registry", registry)
        start("worker", *options, "--id", name, "--model", f"emb={folder}").report()
    gateway = start(
        "gateway", "--listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0", "--registry", registry
    )
    url = f"http://{gateway.report()['rest']}/v1/embeddings"

    def states() -> list[str]:
        rows = json.loads(inferloom("ps", "--registry", registry, "--json"))["workers"]
        return [row["worker"]["state"] for row in rows]

    until(states, "both workers' registration", lambda seen: seen == ["WORKER_STATE_READY"] * 2)
    body = {"model": "emb", "input": [f"text {number}" for number in range(200)]}
    for _ in range(4):
        response = httpx.post(url, json=body, timeout=PATIENCE_S)
        assert response.status_code == 200
        lengths = Counter(len(item["embedding"]) for item in response.json()["data"])
        assert list(lengths.values()) == [200]
    assert "the workers of model emb do not compute the same" in gateway.output
