"""Settings: flag over environment over file, read once into a frozen object.

Every setting has one name: ``worker_timeout_s`` is ``INFERLOOM_WORKER_TIMEOUT_S`` in the environment and
``worker_timeout_s`` in ``inferloom.toml``. Each service declares a subclass with the names it reads, so a
shared file may hold names that belong to another service. The command line, which knows them all, refuses
names that belong to none.
"""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from inferloom_mesh.audit import audit_at
from inferloom_mesh.log_format import LogFormat
from inferloom_mesh.net import Address, Addresses, AddressesField, AddressField
from inferloom_mesh.networks import Networks
from inferloom_mesh.roles import Role
from inferloom_mesh.secret import MeshSecret, SecretFile
from inferloom_mesh.security import Security
from inferloom_mesh.tls_files import TlsFiles

CONFIG_VARIABLE = "INFERLOOM_CONFIG"
"""Environment variable that names the settings file; ``./inferloom.toml`` without it."""


def or_none(value: object) -> object:
    """``none``, and nothing, as None."""
    return None if isinstance(value, str) and value.strip().lower() in ("", "none") else value


OptionalAddress = Annotated[AddressField | None, NoDecode, BeforeValidator(or_none)]
"""An address, or ``none``."""


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class ServiceSettings(BaseSettings):
    """What every service can be told. Raises pydantic's ValidationError for a value that is out of range."""

    model_config = SettingsConfigDict(
        env_prefix="INFERLOOM_", frozen=True, extra="ignore", populate_by_name=True
    )

    registry: AddressesField = Addresses([Address("127.0.0.1", 7000)])
    """Where the registry is, or the registries of one store: ``host:port,host:port``."""

    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = "info"
    """Least severe log lines that are written: debug, info, warning or error."""

    log_format: Annotated[LogFormat, BeforeValidator(_lower)] = "text"
    """How log lines are written: ``text`` for people, ``json`` for one object a line."""

    access_log: bool = True
    """Whether the gateway and the workers write one line for each request, at level info. It never holds
    prompts or answers."""

    otlp_endpoint: str | None = None
    """Where the gateway and the workers send traces by OTLP, such as ``http://127.0.0.1:4318``; port 4317 is
    gRPC's. Not set: what ``OTEL_EXPORTER_OTLP_ENDPOINT`` says, or nowhere. Headers are read from
    ``OTEL_EXPORTER_OTLP_HEADERS``. Prompts and answers are never in a trace."""

    trace_ratio: float | None = Field(None, ge=0, le=1)
    """Which part of the requests that bring no trace is traced, from 0 to 1; of those that bring one, what
    its maker keeps. Not set: what ``OTEL_TRACES_SAMPLER`` says, or all."""

    mesh_secret: SecretStr | None = None
    """What the services of a mesh know each other by, at least 16 characters; the same for all of them. It is
    one secret, whatever lines it has; white space around it does not count. Where it is set, workers and the
    registry take no other calls than those of services that have it. Not set: whoever reaches them may
    call."""

    mesh_secret_file: Path | None = None
    """A file that holds the secret, in its place. Each line that is not empty is a secret, with at least 16
    characters; white space around it does not count. The first is shown, and all are taken, which is for the
    time in which one takes another's place. A file that is replaced is used without a restart."""

    tls: Path | None = None
    """A folder with ``tls.crt``, ``tls.key`` and ``ca.crt``: this service's certificate, which names its
    role, the key, and the authority that its peers' certificates are from. The services of a mesh then speak
    TLS with each other, each shows its certificate, and who may call what is known by it. Files that are
    replaced are used without a restart. Not set: nothing inside of the mesh is encrypted."""

    insecure: bool = False
    """Whether a service may listen beyond this machine without TLS, or without asking who calls."""

    allow: Networks = ()
    """Networks, such as ``10.0.0.0/8,::1/128``, that callers' addresses must be in; health and the
    contract (reflection) are told to everybody by gRPC. Not set: any."""

    audit_log: Path | None = None
    """A file that a line is added to, as a JSON object, for each change that somebody made (models, drains,
    keys) and each call that he was refused for who he is. Not set: there is none."""

    def security(self, role: Role) -> Security:
        """What a service of this role shows its peers and asks of them.

        Raises:
            OSError: A file that is named cannot be used.
        """
        files = None if self.tls is None else TlsFiles(self.tls, role)
        return Security(self.peer_secret(), files, audit_at(self.audit_log), self.allow)

    def peer_secret(self) -> MeshSecret | None:
        """The mesh's secret; None: it has none. One in a file is what that holds at the time.

        Raises:
            OSError: The file that holds it cannot be read, or it is too short.
        """
        if self.mesh_secret is None:
            return None if self.mesh_secret_file is None else SecretFile(self.mesh_secret_file)
        try:
            return MeshSecret(self.mesh_secret.get_secret_value())
        except ValueError as wrong:
            raise OSError(str(wrong)) from wrong

    @property
    def asks_who_calls(self) -> bool:
        """Whether the service lets in only who shows something."""
        return self.mesh_secret is not None or self.mesh_secret_file is not None or self.tls is not None

    @property
    def encrypted(self) -> bool:
        """Whether what goes in and out where it listens is encrypted."""
        return self.tls is not None

    def peer_environment(self) -> dict[str, str]:
        """The environment that gives another process the same secret."""
        if self.mesh_secret is not None:
            return {"INFERLOOM_MESH_SECRET": self.mesh_secret.get_secret_value()}
        if self.mesh_secret_file is not None:
            return {"INFERLOOM_MESH_SECRET_FILE": str(self.mesh_secret_file)}
        return {}

    def plain(self) -> dict[str, object]:
        """What was set, by whatever source, as JSON values and with its secrets: the whole of what another
        process needs to do as this one."""
        found = self.model_dump(mode="json", exclude_unset=True)
        for name in found:
            if isinstance(value := getattr(self, name), SecretStr):
                found[name] = value.get_secret_value()
        return found

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: flags, environment, file."""
        assert isinstance(init_settings, InitSettingsSource)
        assert isinstance(env_settings, EnvSettingsSource)
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=settings_file())


def settings_file() -> Path:
    """The settings file, whether or not it exists."""
    return Path(os.environ.get(CONFIG_VARIABLE, "inferloom.toml"))


def given(**flags: object) -> dict[str, object]:
    """Drop the flags that were not typed, so that they do not hide the environment and the file."""
    return {name: value for name, value in flags.items() if value is not None}
