"""What a running mesh is, for people and for scripts."""

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """One worker of the mesh."""

    id: str
    address: str
    pid: int | None
    """None while it is being started again."""


@dataclass(frozen=True, slots=True)
class ModelReport:
    """One model that the mesh serves, and what it can be asked for, such as ``chat``."""

    id: str
    capabilities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MeshReport:
    """The mesh of one ``inferloom up``; addresses are ``host:port``."""

    pid: int
    """The supervisor's process: SIGTERM drains and stops the mesh."""
    rest: str
    grpc: str
    registry: str
    workers: tuple[WorkerReport, ...]
    models: tuple[ModelReport, ...]
    logs: str
    """Folder with one log file for each service."""
    seconds: float
    """From the start of the command to ready."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """All that the mesh listens on."""
        return (self.rest, self.grpc, self.registry, *(worker.address for worker in self.workers))

    def to_json(self) -> str:
        """The report as one line of JSON, with the fields' own names."""
        return json.dumps(asdict(self)) + "\n"
