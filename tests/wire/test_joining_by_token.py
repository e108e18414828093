"""Workers that get their certificate from the registry: once for a token, and again for what they have."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from inferloom.v1 import registry_pb2 as pb
from inferloom.v1.registry_pb2_grpc import RegistryServiceStub
from inferloom_mesh.authority import Authority, key_pem, new_key
from inferloom_mesh.channel import open_channel
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_mesh.identity import PeerIdentity
from inferloom_mesh.join_token import TokenError, check_token, make_token, read_token
from inferloom_mesh.net import Address
from inferloom_mesh.roles import Role
from inferloom_mesh.secret import MeshSecret
from inferloom_mesh.tls_files import TlsFiles
from inferloom_mesh.tls_reading import TlsError
from inferloom_registry import joining
from inferloom_worker.joining.certificate import join
from inferloom_worker.joining.own_folder import certificate_request, is_joined, own_key
from tests.patience import PATIENCE_S
from tests.registry.running import running_registry
from tests.wire.certificates import Certificates, certificates
from tests.wire.joinable import Joinable, joinable
from tests.wire.ports import free_port
from tests.wire.running_worker import error_of, running_worker

__all__ = ["certificates", "joinable"]


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
        ("tls.crt", "tls.key", "ca.crt", "joined"), 0o600
    )
    assert str(TlsFiles(folder, Role.WORKER).current().identity) == "worker/w7"
    with pytest.raises(TlsError, match="The join token has been used"):
        await join(tmp_path / "again", file)
    assert not (tmp_path / "again/tls.crt").exists()
    assert (joinable.certificates.folder / "used-tokens").read_text().count("\n") >= 1


async def test_a_worker_renews_its_certificate_with_the_one_it_has(joinable: Joinable) -> None:
    """For the same name, and with the same key; who has none gets none."""
    security = joinable.certificates.security("worker", "w8")
    key = new_key()
    async with open_channel(joinable.registry, security=security, of=Role.REGISTRY) as channel:
        stub: Any = RegistryServiceStub(channel)
        answer = await stub.Join(pb.JoinRequest(certificate_request=certificate_request(key)))
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
    request = certificate_request(new_key())
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
                await stub.Join(pb.JoinRequest(certificate_request=certificate_request(new_key())))
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


async def test_a_token_opens_nothing_but_joining_whatever_secret_is_shown(certificates: Certificates) -> None:
    """Where workers join, there is no certificate, and where there are certificates the mesh's secret says
    nothing: with it a worker could register under another's name."""
    at = Address("127.0.0.1", free_port())
    settings: dict[str, Any] = {"tls": certificates.of("registry"), "registry_ca": certificates.folder}
    secret = "a secret of this mesh"
    async with running_registry(registry_join_listen=at, mesh_secret=secret, **settings):
        roots = grpc.ssl_channel_credentials(certificates.ca.read_bytes())
        options = (("grpc.ssl_target_name_override", Role.REGISTRY.server_name),)
        shown = MeshSecret(secret).metadata
        worker = pb.Worker(id="w1", address="127.0.0.1:7100", state=pb.WORKER_STATE_READY, capacity=1)
        async with grpc.aio.secure_channel(str(at), roots, options=options) as channel:
            stub: Any = RegistryServiceStub(channel)
            for call in (
                stub.Register(pb.RegisterRequest(worker=worker), metadata=shown),
                stub.ListWorkers(pb.ListWorkersRequest(), metadata=shown),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call
                assert error_of(caught.value).reason is Reason.NOT_A_PEER


async def test_what_can_fail_fails_before_the_token_is_used(joinable: Joinable, tmp_path: Path) -> None:
    """A key that cannot be used, or a file that cannot be written; the token is good still."""
    file, folder = tmp_path / "w10.token", tmp_path / "w10"
    file.write_text(joinable.token("w10"))
    folder.mkdir()
    (folder / "tls.key").write_text("no key")
    with pytest.raises(TlsError, match=r"tls.key: holds no key of P-256 to join with"):
        await join(folder, file)
    (folder / "tls.key").unlink()
    (folder / "ca.crt").mkdir()
    with pytest.raises(TlsError, match=r"ca.crt: cannot be written"):
        await join(folder, file)
    (folder / "ca.crt").rmdir()
    # What is left of an earlier life is no obstacle.
    (folder / "tls.key").write_bytes(key_pem(new_key()))
    (folder / "ca.crt").write_text("another")
    await join(folder, file)
    assert str(TlsFiles(folder, Role.WORKER).current().identity) == "worker/w10"


async def test_an_answer_that_was_lost_may_be_asked_for_again(
    joinable: Joinable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By who has the key, for a while; nobody else gets anything for the token."""
    file, folder = tmp_path / "w11.token", tmp_path / "w11"
    text = joinable.token("w11")
    file.write_text(text)
    asked = pb.JoinRequest(token=text, certificate_request=certificate_request(own_key(folder)))
    roots = grpc.ssl_channel_credentials(joinable.certificates.ca.read_bytes())
    options = (("grpc.ssl_target_name_override", Role.REGISTRY.server_name),)
    async with grpc.aio.secure_channel(str(joinable.at), roots, options=options) as channel:
        stub: Any = RegistryServiceStub(channel)
        await stub.Join(asked, timeout=PATIENCE_S)  # and nobody keeps what it says
    with pytest.raises(TlsError, match="The join token has been used"):
        await join(tmp_path / "stolen", file)
    await join(folder, file)
    assert str(TlsFiles(folder, Role.WORKER).current().identity) == "worker/w11"
    (folder / "tls.crt").unlink()
    monkeypatch.setattr(joining, "AGAIN_S", -1.0)
    with pytest.raises(TlsError, match="The join token has been used"):
        await join(folder, file)


async def test_a_certificate_that_is_over_is_replaced_for_another_token(
    joinable: Joinable, tmp_path: Path
) -> None:
    """A worker that was away for long joins again; one that has a good certificate shows no token."""
    file, folder = tmp_path / "w12.token", tmp_path / "w12"
    identity = PeerIdentity(Role.WORKER, "w12")
    joinable.certificates.authority.issue(folder, identity, life=timedelta(minutes=-1))
    with pytest.raises(TlsError, match=r"w12.token: cannot be read: No such file"):
        await join(folder, file)
    file.write_text(joinable.token("w12"))
    await join(folder, file)
    assert TlsFiles(folder, Role.WORKER).current().ends > datetime.now(UTC)
    assert is_joined(folder)
    file.unlink()
    await join(folder, file)


def test_two_that_show_one_token_at_once_do_not_both_join(certificates: Certificates, tmp_path: Path) -> None:
    """Each is answered on a thread of its own."""
    folder = tmp_path / "mesh"
    Authority.make(folder, "tests")
    signs = joining.Joining(folder, 60)
    known: Any = type(signs._used)

    class Slow(known):  # type: ignore[misc] # whichever it is
        """Takes a while to say what is in it."""

        def __contains__(self, name: object) -> bool:
            found = bool(super().__contains__(name))
            time.sleep(0.2)
            return found

        def get(self, *args: Any) -> Any:
            found = super().get(*args)
            time.sleep(0.2)
            return found

    signs._used = Slow()
    token = make_token(Authority(folder), "w1", 60, Address("127.0.0.1", 1))

    def joined(by: joining.Joining) -> bool:
        try:
            by.join(token, certificate_request(new_key()), None)
        except InferloomError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(joined, [signs] * 4)) == 1
    signs.close()
    # So it is known after a restart, also of those of whose key nothing was noted.
    (folder / "used-tokens").write_text((folder / "used-tokens").read_text() + "abcd 1 2\n\nef")
    again = joining.Joining(folder, 60)
    assert not joined(again)
    assert {"abcd", "ef"} <= set(again._used)
    again.close()
