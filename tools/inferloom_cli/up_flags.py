"""What was typed for `inferloom up`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class UpFlags:
    """What was typed; None where it was not."""

    models: Sequence[str] = ()
    adapters: Sequence[str] = ()
    aliases: Sequence[str] = ()
    workers: int = 1
    host: str | None = None
    port: int | None = None
    grpc_port: int | None = None
    registry_port: int | None = None
    worker_port: int | None = None
    gateway_processes: int | None = None
    strict: bool | None = None
    generation_config: str | None = None
    quantize: str | None = None
    tool_format: str | None = None
    reasoning_format: str | None = None
    speculation: str | None = None
    threads: int | None = None
    cors: str | None = None
    keys: str | None = None
    certs: Path | None = None
    insecure: bool | None = None
    behind_proxy: bool | None = None
    store: Path | None = None
    no_store: bool | None = None
    log_format: str | None = None
    verbose: bool = False
    ready_file: Path | None = None
    log_dir: Path | None = None


def alone(model: str, quantize: str | None = None, threads: int | None = None) -> UpFlags:
    """Flags for one model that only this machine reaches, on ports that are free, with nothing kept."""
    return UpFlags(
        models=(model,),
        host="127.0.0.1",
        port=0,
        grpc_port=0,
        registry_port=0,
        worker_port=0,
        no_store=True,
        quantize=quantize,
        threads=threads,
    )
