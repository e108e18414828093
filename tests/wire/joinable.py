"""A registry that signs certificates for workers that join."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from inferloom_mesh.join_token import make_token
from inferloom_mesh.net import Address
from inferloom_worker.joining.certificate import join
from tests.registry.running import running_registry
from tests.wire.certificates import Certificates
from tests.wire.ports import free_port


@dataclass
class Joinable:
    """Such a registry."""

    registry: Address
    at: Address
    certificates: Certificates

    def token(self, name: str, life_s: float = 60) -> str:
        """One for a worker."""
        return make_token(self.certificates.authority, name, life_s, self.at)

    async def joined(self, folder: Path) -> Path:
        """A folder that was given a certificate, for a worker of its name."""
        file = folder.with_suffix(".token")
        file.write_text(self.token(folder.name))
        await join(folder, file)
        return folder


@pytest.fixture
async def joinable(certificates: Certificates) -> AsyncIterator[Joinable]:
    """A registry that signs, for a minute each."""
    at = Address("127.0.0.1", free_port())
    settings: dict[str, Any] = {"tls": certificates.of("registry"), "registry_ca": certificates.folder}
    async with running_registry(registry_join_listen=at, join_life_s=60, **settings) as registry:
        yield Joinable(registry, at, certificates)
