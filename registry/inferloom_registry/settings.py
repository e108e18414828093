"""What the registry can be told."""

from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import NoDecode

from inferloom_mesh.net import Address, AddressesField, AddressField
from inferloom_mesh.networks import Networks
from inferloom_mesh.settings import OptionalAddress, ServiceSettings, or_none
from inferloom_mesh.tls_files import shown_files
from inferloom_mesh.watched import Watched
from inferloom_registry.etcd.access import EtcdAccess, Login

LOOPBACK_AND_PRIVATE = tuple(
    ip_network(network)
    for network in ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)


class RegistrySettings(ServiceSettings):
    """Settings of the registry."""

    registry_listen: AddressField = Address("127.0.0.1", 7000)
    """Where it listens."""

    registry_metrics_listen: OptionalAddress = Address("127.0.0.1", 9101)
    """Where Prometheus reads its metrics, at ``/metrics``; ``none``: nowhere. Where nobody has set it and the
    port is taken, there is no such listener."""

    registry_ca: Path | None = None
    """A folder with the authority's certificate and key, ``ca.crt`` and ``ca.key``: the registry then signs
    certificates for workers that show a join token, and notes there which tokens were used. Files that are
    replaced are used without a restart. Give it to one registry only. Not set: nobody can join by a token."""

    registry_join_listen: OptionalAddress = None
    """Where workers that have no certificate yet join, with TLS but without one of theirs; nothing else is
    answered there. Not set: nowhere."""

    join_life_s: float = Field(default=7 * 86_400, ge=60, le=366 * 86_400)
    """How long such a certificate holds, in seconds; workers renew it when two thirds of that are over."""

    lease_ttl_s: float = Field(default=6.0, gt=0)
    """How long a lease lasts without renewal, in seconds, where the worker asks for no other time."""

    settle_s: float | None = Field(default=None, ge=0, le=600)
    """How long after its start the registry takes its set for incomplete, in seconds: workers whose leases it
    has forgotten come back meanwhile. Not set: as long as a lease lasts; no time where etcd has the set."""

    lease_ttl_min_s: float = Field(default=2.0, gt=0)
    """Shortest lease that a worker may ask for, in seconds."""

    lease_ttl_max_s: float = Field(default=60.0, gt=0)
    """Longest lease that a worker may ask for, in seconds."""

    allowed_networks: Networks = LOOPBACK_AND_PRIVATE
    """Networks that a worker's address must be in."""

    max_workers: int = Field(default=1024, ge=1)
    """Most workers that may be registered at once."""

    etcd: Annotated[AddressesField | None, NoDecode, BeforeValidator(or_none)] = None
    """Members of an etcd cluster that keeps what lasts, so that several registries have one set of workers.
    Not set: this registry keeps it in its memory, and is alone."""

    etcd_prefix: str = Field(default="/inferloom/", pattern=r"^/[\x21-\x7e]*/$")
    """What its keys in etcd begin with. Registries with one prefix have one set of workers."""

    etcd_ca_file: Path | None = None
    """Certificates of who signs those of etcd, PEM: etcd is spoken to with TLS. This file and the two of the
    certificate are used as they are when a call or a stream begins. Not set: without TLS."""

    etcd_certificate_file: Path | None = None
    """The certificate that is shown to etcd, PEM, where it asks for one."""

    etcd_key_file: Path | None = None
    """The key of that certificate, PEM."""

    etcd_user: str | None = None
    """The user of etcd, where it asks for one."""

    etcd_password: SecretStr | None = None
    """That user's password."""

    etcd_password_file: Path | None = None
    """A file that holds the password, in its place, as it is when etcd asks for it; white space around it
    does not count."""

    def etcd_access(self) -> EtcdAccess:
        """How etcd is spoken to.

        Raises:
            OSError: One of the files cannot be read.
        """
        tls = None
        if self.etcd_ca_file is not None:
            tls = shown_files(self.etcd_ca_file, self.etcd_certificate_file, self.etcd_key_file)
        return EtcdAccess(self._etcd_login(), tls)

    def _etcd_login(self) -> Callable[[], Login] | None:
        user, file = self.etcd_user, self.etcd_password_file
        if user is None:
            return None
        if self.etcd_password is not None:
            login = Login(user, self.etcd_password.get_secret_value())
            return lambda: login
        assert file is not None
        password = Watched((file,), lambda: _password_in(file), f"the password in {file}")
        return lambda: Login(user, password.current())

    @model_validator(mode="after")
    def _check_etcd(self) -> Self:
        if (self.etcd_certificate_file is None) != (self.etcd_key_file is None):
            raise ValueError("etcd_certificate_file and etcd_key_file belong together")
        if self.etcd_certificate_file is not None and self.etcd_ca_file is None:
            raise ValueError("etcd_certificate_file needs etcd_ca_file")
        if self.etcd_user is not None and self.etcd_password is None and self.etcd_password_file is None:
            raise ValueError("etcd_user needs etcd_password or etcd_password_file")
        return self

    @model_validator(mode="after")
    def _check_joining(self) -> Self:
        if self.registry_join_listen is not None and (self.registry_ca is None or self.tls is None):
            raise ValueError("registry_join_listen needs registry_ca, whose key signs, and tls")
        return self

    @model_validator(mode="after")
    def _check_ttls(self) -> Self:
        if not self.lease_ttl_min_s <= self.lease_ttl_s <= self.lease_ttl_max_s:
            raise ValueError("lease_ttl_s must be between lease_ttl_min_s and lease_ttl_max_s")
        return self


def _password_in(file: Path) -> str:
    """A password, without the white space around it. Raises OSError where there is none."""
    try:
        password = file.read_text().strip()
    except UnicodeDecodeError as failure:
        raise OSError(f"{file}: is no text") from failure
    if not password:
        raise OSError(f"{file}: is empty")
    return password
