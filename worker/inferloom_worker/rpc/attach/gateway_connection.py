"""One gateway process on a connection of the link's own."""

from collections.abc import Callable
from contextvars import copy_context

from google.protobuf.message import DecodeError

from inferloom.v1 import link_pb2
from inferloom_mesh.errors import InferloomError
from inferloom_mesh.frame_connection import CLOSED, FrameConnection
from inferloom_mesh.frames import LARGEST_GREETING, PREAMBLE, FrameError
from inferloom_mesh.identity import PEER, PeerIdentity, only_one
from inferloom_mesh.secret import KEY
from inferloom_mesh.security import Security
from inferloom_worker.rpc.attach.attachment import METHOD, Attachment
from inferloom_worker.rpc.attach.attachments import Attachments
from inferloom_worker.rpc.attach.call import end_of
from inferloom_worker.rpc.attach.port_log import PortLog

PATIENCE_S = 12
"""Seconds of silence after which a gateway is lost. Where what it says is lost, but what is said to it comes,
it learns of that from the connection's end, so this is no longer than its own patience."""


class GatewayConnection:
    """Lets the gateway in or refuses it, as gRPC's server does with the method Attach, and then is the
    transport of an attachment. That its address may call was asked before.

    Args:
        attachments: Those of the worker.
        security: Says who may attach.
        over: Is told that the connection has ended.
        log: Takes what is to be said of it.
    """

    def __init__(
        self,
        attachments: Attachments,
        security: Security,
        over: Callable[["GatewayConnection"], object],
        log: PortLog,
    ) -> None:
        self._log = log
        self.connection = FrameConnection(self, PATIENCE_S, LARGEST_GREETING)
        self._attachments = attachments
        self._security = security
        self._over = over
        self._peer = ""
        self._identity: PeerIdentity | None = None
        self._attachment: Attachment | None = None
        self._context = copy_context()

    def connected(self) -> None:
        """See FrameOwner; so are the others."""
        transport = self.connection.transport
        self._peer = peer_of(transport.get_extra_info("peername"))
        if self._security.tls is None:
            return
        encrypted = transport.get_extra_info("ssl_object")
        if encrypted is None or encrypted.selected_alpn_protocol() != PREAMBLE.decode():
            self.connection.abort("it speaks another protocol in its TLS")
            return
        shown = (transport.get_extra_info("peercert") or {}).get("subjectAltName", ())
        self._identity = only_one(value for kind, value in shown if kind == "URI")

    def take(self, frame: bytes) -> None:
        """Take in a frame: the first says who it is."""
        try:
            if self._attachment is None:
                self._meet(link_pb2.LinkHello.FromString(frame))
            else:
                request = link_pb2.AttachRequest.FromString(frame)
                self._context.run(self._attachment.take, request)
        except DecodeError:
            raise FrameError("a frame is not a valid message") from None
        except InferloomError as error:
            raise FrameError(error.message) from None

    def next(self) -> bytes | None:
        """What the attachment has to say."""
        attachment = self._attachment
        if attachment is None:
            return None
        message = attachment.next()
        if message is not None:
            return message.SerializeToString()
        if attachment.closing:
            self.connection.close()
        return None

    def lost(self, why: str | None) -> None:
        """Its calls end with it."""
        if why not in (None, CLOSED):
            self._log.warn("the link of the gateway at %s ended: %s", self._peer, why)
        if self._attachment is not None:
            self._attachments.left(self._attachment)
        self._over(self)

    def _meet(self, hello: link_pb2.LinkHello) -> None:
        shown = ((KEY, hello.mesh_secret),) if hello.mesh_secret else ()
        try:
            if (guard := self._security.guard) is not None:
                guard.check(METHOD, shown, self._identity)
        except InferloomError as refusal:
            who = self._peer if self._identity is None else str(self._identity)
            refused(self._security, self._log, who, refusal)
            self.connection.send(end_of(0, refusal).SerializeToString(), before=PREAMBLE)
            self.connection.close()
            return
        self._context.run(PEER.set, self._identity)
        self.connection.opened()
        self.connection.send(end_of(0).SerializeToString(), before=PREAMBLE)
        self._attachment = self._attachments.attach(self._peer, self.connection.wake)


def refused(security: Security, log: PortLog, who: str, refusal: InferloomError) -> None:
    """Write that somebody was not let in."""
    if security.audit is not None:
        security.audit.refused(METHOD, who, refusal)
    log.warn("%s may not attach: %s", who, refusal.message)


def peer_of(name: object) -> str:
    """A connection's other end as gRPC spells it; empty where nobody knows."""
    if not isinstance(name, tuple):
        return ""
    host, port = str(name[0]), name[1]
    return f"ipv6:%5B{host}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}"
