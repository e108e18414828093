"""A line to paste that shows that a mesh answers. Pure."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from inferloom_cli.mesh_report import ModelReport
from inferloom_mesh.net import Address

_BODIES: dict[str, tuple[str, dict[str, object]]] = {
    "chat": (
        "chat/completions",
        {
            "messages": [{"role": "user", "content": "What is the capital of France?"}],
            "temperature": 0,
            "max_tokens": 64,
        },
    ),
    "completion": ("completions", {"prompt": "The capital of France is", "max_tokens": 8}),
    "embedding": ("embeddings", {"input": "The capital of France"}),
}
"""The endpoint and the body that show each capability, the most telling first."""


def curl_line(
    rest: Address, models: Sequence[ModelReport], *, keyed: bool = False, door: Path | None = None
) -> str | None:
    """The call that shows most of what ``models`` can do; None if they can do nothing that is known here.

    ``keyed``: whether a key is asked for, which the shell's INFERLOOM_API_KEY then holds.
    ``door``: the folder with the gateway's certificate. None: it does no TLS.
    """
    key = ' -H "authorization: Bearer $INFERLOOM_API_KEY"' if keyed else ""
    scheme = "http" if door is None else "https"
    known = door is not None and (door / "ca.crt").is_file()
    trust = f" --cacert {shlex.quote(str(door / 'ca.crt'))}" if door is not None and known else ""
    for capability, (path, body) in _BODIES.items():
        for model in models:
            if capability in model.capabilities:
                text = json.dumps({"model": model.id, **body})
                kind = "-H 'content-type: application/json'"
                return f"curl{trust} {scheme}://{rest}/v1/{path} {kind}{key} -d '{text}'"
    return None
