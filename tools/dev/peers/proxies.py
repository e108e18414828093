"""Proxies, in front of an upstream that costs nothing."""

import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from peers.process import free_port, server
from peers.sides import Place, Running, Wants
from peers.upstream import AT_ONCE, MODEL


@contextmanager
def _script(name: str, place: Place, at_once: str | None = None) -> Iterator[Running]:
    """One of the servers beside this file."""
    port = free_port()
    command = [sys.executable, str(Path(__file__).with_name(f"{name}.py")), str(port)]
    where = f"127.0.0.1:{port}"
    with server(command, f"{where}/health", place.logs / f"{name}.log", 30) as seconds:
        yield Running(f"http://{where}/v1", MODEL, seconds, "no model", at_once=at_once)


def upstream(place: Place, wants: Wants) -> AbstractContextManager[Running]:
    """The upstream alone: what there is to lose."""
    return _script("upstream", place, AT_ONCE)


def bare(place: Place, wants: Wants) -> AbstractContextManager[Running]:
    """uvicorn and grpc.aio with nothing of Inferloom between them: the most that it could reach."""
    return _script("bare", place)


@contextmanager
def litellm(place: Place, wants: Wants) -> Iterator[Running]:
    """LiteLLM's proxy, one process."""
    port = place.port or free_port()
    with upstream(place, wants) as behind:
        config = place.logs / "litellm.json"  # JSON is YAML
        # No key: it listens on the loopback interface, and checking one would be work that others do not do.
        general = {"dangerously_permit_weak_or_unset_master_key": True}
        models = [
            {
                "model_name": name,
                "litellm_params": {"model": f"openai/{name}", "api_base": behind.url, "api_key": "none"},
            }
            for name in (MODEL, AT_ONCE)
        ]
        config.write_text(json.dumps({"model_list": models, "general_settings": general}))
        program = Path(place.python("litellm")).with_name("litellm")
        command = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
        where = f"127.0.0.1:{port}"
        ready, log = f"{where}/health/liveliness", place.logs / "litellm.log"
        with server(command, ready, log, 180, LITELLM_LOCAL_MODEL_COST_MAP="True") as seconds:
            yield Running(f"http://{where}/v1", MODEL, seconds, "no model", behind.url, at_once=AT_ONCE)


@contextmanager
def sglang_router(place: Place, wants: Wants) -> Iterator[Running]:
    """SGLang's router, which is written in Rust."""
    port = place.port or free_port()
    with upstream(place, wants) as behind:
        command = [place.python("router"), "-m", "sglang_router.launch_router"]
        command += ["--worker-urls", behind.url.removesuffix("/v1"), "--policy", "round_robin"]
        command += ["--host", "127.0.0.1", "--port", str(port), "--prometheus-port", str(free_port())]
        where = f"127.0.0.1:{port}"
        with server(command, f"{where}/v1/models", place.logs / "sglang-router.log", 60) as seconds:
            yield Running(f"http://{where}/v1", MODEL, seconds, "no model", behind.url, at_once=AT_ONCE)
