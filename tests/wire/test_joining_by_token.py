"""Workers that get their certificate from the registry: once for a token, and again for what they have."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from inferloom.v1 import registry_pb2 as pb
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub
from inferloom_mesh.authority import key_pem, new_key
from inferloom_mesh.channel import open_channel
from inferloom_mesh.errors import Reason
from inferloom_mesh.join_token import TokenError, check_token, make_token, read_token
from inferloom_mesh.net import Address
from inferloom_mesh.roles import Role
from inferloom_mesh.tls_files import TlsError, TlsFiles
from inferloom_worker.joining.certificate import _request, join
from tests.patience import PATIENCE_S
from tests.registry.running import running_registry
from tests.wire.certificates import Certificates, certificates
from tests.wire.ports import free_port
from tests.wire.running_worker import error_of, running_worker

__all__ = ["certificates"]


@dataclass
class Joinable:
    """A registry that signs."""

    registry: Address
    at: Address
    certificates: Certificates

    def token(self, name: str, life_s: float = 60) -> str:
        """One for a worker."""
        return make_token(self.certificates.authority, name, life_s, self.at)


@pytest.fixture
async def joinable(certificates: Certificates) -> AsyncIterator[Joinable]:
    """A registry that signs, for a minute each."""
    at = Address("127.0.0.1", free_port())
    settings: dict[str, Any] = {"tls": certificates.of("registry"), "registry_ca": certificates.folder}
    async with running_registry(registry_join_listen=at, join_life_s=60, **settings) as registry:
        yield Joinable(registry, at, certificates)


async def test_a_worker_joins_with_a_token_once(joinable: Joinable, tmp_path: Path) -> None:
    """It gets a certificate for its name, registers with it, and the token opens nothing more, also after a
    restart of the registry."""
    file, folder = tmp_path / "w7.token", tmp_path / "w7"
    file.write_text(joinable.token("w7") + "\n")
    settings = {"tls": folder, "join_token_file": file, "worker_id": "w7"}
    async with running_worker("echo=echo", registry=str(joinable.registry), **settings):
        security = joinable.certificates.security("operator")
        async with open_channel(joinable.registry, security=security, of=Role.REGISTRY) as channel:
            stub: Any = RegistryServiceStub(channel)
            async with asyncio.timeout(PATIENCE_S):
                while not (await stub.ListWorkers(pb.ListWorkersRequest())).workers:
                    pass
    assert {each.name: each.stat().st_mode & 0o777 for each in folder.iterdir()} == dict.fromkeys(
        ("tls.crt", "tls.key", "ca.crt"), 0o600
    )
    assert str(TlsFiles(folder, Role.WORKER).current().identity) == "worker/w7"
    with pytest.raises(TlsError, match="The join token has been used"):
        await join(tmp_path / "again", file)
    assert not (tmp_path / "again").exists()
    assert (joinable.certificates.folder / "used-tokens").read_text().count("\n") >= 1


async def test_a_worker_renews_its_certificate_with_the_one_it_has(joinable: Joinable) -> None:
    """For the same name, and with the same key; who has none gets none."""
    security = joinable.certificates.security("worker", "w8")
    key = new_key()
    async with open_channel(joinable.registry, security=security, of=Role.REGISTRY) as channel:
        stub: Any = RegistryServiceStub(channel)
        answer = await stub.Join(pb.JoinRequest(certificate_request=_request(key)))
    folder = joinable.certificates.folder / "renewed"
    folder.mkdir()
    (folder / "tls.crt").write_bytes(answer.certificate)
    (folder / "tls.key").write_bytes(key_pem(key))
    (folder / "ca.crt").write_bytes(answer.authority)
    assert str(TlsFiles(folder, Role.WORKER).current().identity) == "worker/w8"


async def test_nothing_else_is_answered_where_workers_join(joinable: Joinable) -> None:
    """Without a certificate there is a token or nothing, and only a request that is one is signed."""
    roots = grpc.ssl_channel_credentials(joinable.certificates.ca.read_bytes())
    options = (("grpc.ssl_target_name_override", Role.REGISTRY.server_name),)
    request = _request(new_key())
    other = make_token(Certificates(joinable.certificates.folder / "other").authority, "w9", 60, joinable.at)
    payload, _, signature = joinable.token("w9").partition(".")
    async with grpc.aio.secure_channel(str(joinable.at), roots, options=options) as channel:
        stub: Any = RegistryServiceStub(channel)

        async def refusal(call: Any) -> Any:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await (call.read() if hasattr(call, "read") else call)
            error = error_of(caught.value)
            return error.reason, error.message

        assert (await refusal(stub.ListWorkers(pb.ListWorkersRequest())))[0] is Reason.NOT_A_PEER
        assert (await refusal(stub.Register(pb.RegisterRequest())))[0] is Reason.NOT_A_PEER
        assert (await refusal(stub.Watch(pb.WatchRequest())))[0] is Reason.NOT_A_PEER
        for token, words in (
            ("", "show a token or the certificate"),
            ("x", "no join token"),
            ("x" * 100_000, "no join token"),
            (other, "not of this mesh"),
            (f"{payload[:-4]}AAAA.{signature}", "not of this mesh"),
            (joinable.token("w9", -1), "is over"),
        ):
            asked = pb.JoinRequest(token=token, certificate_request=request)
            reason, said = await refusal(stub.Join(asked))
            assert (reason, words in said) == (Reason.NOT_A_PEER, True), said
        for wrong in (b"", b"x" * 100, b"x" * 10_000, request[:-8] + b"12345678"):
            asked = pb.JoinRequest(token=joinable.token("w9"), certificate_request=wrong)
            assert (await refusal(stub.Join(asked)))[0] is Reason.INVALID_ARGUMENT


async def test_a_registry_without_a_key_signs_nothing(certificates: Certificates) -> None:
    """Tokens are off unless the authority's key is given."""
    async with running_registry(tls=certificates.of("registry")) as registry:
        security = certificates.security("worker", "w1")
        async with open_channel(registry, security=security, of=Role.REGISTRY) as channel:
            stub: Any = RegistryServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Join(pb.JoinRequest(certificate_request=_request(new_key())))
            assert error_of(caught.value).reason is Reason.UNIMPLEMENTED


def test_a_token_says_what_it_is_for(certificates: Certificates) -> None:
    """Whoever has it can read it; nobody can change it."""
    at = Address("10.0.0.5", 7001)
    text = make_token(certificates.authority, "w1", 60, at)
    token = read_token(text)
    assert (token.name, token.at) == ("w1", "10.0.0.5:7001")
    assert token.authority == certificates.ca.read_text()
    assert check_token(text, certificates.authority) == token
    with pytest.raises(ValueError, match="no name of a worker"):
        make_token(certificates.authority, "W 1", 60, at)
    with pytest.raises(TokenError):
        read_token("e30.e30")
