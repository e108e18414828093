"""Where an API is, whom it must be, and the bytes of a request to it."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an OpenAI-compatible API is."""

    scheme: str
    host: str
    port: int
    path: str
    key: str | None = None
    tls: ssl.SSLContext | None = field(default=None, compare=False)
    """What is asked of who answers. None: TLS is not spoken."""

    @classmethod
    def parse(cls, url: str, key: str | None = None, authorities: Path | None = None) -> Self:
        """Read a base URL such as ``http://127.0.0.1:8000/v1``; by https, the certificate of who answers must
        be from one of the authorities in a file, or from one that the system trusts.

        Raises:
            ValueError: It is not an http or https URL with a host.
            OSError: The file holds no certificates.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{url!r} is not a URL of the form http://host:port/v1")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        tls = ssl.create_default_context(cafile=authorities) if parts.scheme == "https" else None
        return cls(parts.scheme, parts.hostname, port, parts.path.rstrip("/"), key, tls)

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """A whole request; ``path`` is below the base URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        head = f"{method} {self.path}/{path} HTTP/1.1\r\nhost: {host}:{self.port}\r\naccept: */*\r\n"
        if self.key:
            head += f"authorization: Bearer {self.key}\r\n"
        if body:
            head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        return head.encode() + b"\r\n" + body
