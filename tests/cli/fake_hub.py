"""A model hub on this machine, with what its client asks for: one model, as slowly as a test wants."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

REPO = "acme/tiny"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
PIECE = 2**16


class FakeHub:
    """Serves ``files`` as :data:`REPO`.

    ``rate`` is how many bytes of each large file go out in a second; None: all at once.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)
        self.rate: float | None = None
        self.sent: list[str] = []
        """Names of files that were asked for."""
        self.flowing = threading.Event()
        """Set while a file's bytes go out slowly."""
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self._answer(body=False)

            def do_GET(self) -> None:
                self._answer(body=True)

            def log_message(self, format: str, *args: object) -> None:  # the library's name
                """Say nothing."""

            def _answer(self, *, body: bool) -> None:
                path = urlsplit(self.path).path
                known = {f"/{REPO}/resolve/{COMMIT}/{name}": content for name, content in hub.files.items()}
                if path in known:
                    if body:
                        hub.sent.append(path.rpartition("/")[2])
                    self._send(known[path], "application/octet-stream", body)
                elif path in (f"/api/models/{REPO}", f"/api/models/{REPO}/revision/main"):
                    siblings = [{"rfilename": name, "size": len(c)} for name, c in hub.files.items()]
                    self._json({"id": REPO, "sha": COMMIT, "siblings": siblings})
                elif path == f"/api/models/{REPO}/tree/{COMMIT}":
                    listed = [
                        {"type": "file", "path": name, "size": len(c), "oid": _tag(c)}
                        for name, c in hub.files.items()
                    ]
                    self._json(listed)
                else:
                    self.send_response(404)
                    self.send_header("X-Error-Code", "RepoNotFound")
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def _json(self, value: object) -> None:
                self._send(json.dumps(value).encode(), "application/json", True)

            def _send(self, content: bytes, media: str, body: bool) -> None:
                self.send_response(200)
                self.send_header("Content-Type", media)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("ETag", f'"{_tag(content)}"')
                self.send_header("X-Repo-Commit", COMMIT)
                self.end_headers()
                if not body:
                    return
                try:
                    for start in range(0, len(content), PIECE):
                        piece = content[start : start + PIECE]
                        self.wfile.write(piece)
                        if hub.rate is not None and len(content) > PIECE:
                            hub.flowing.set()
                            time.sleep(len(piece) / hub.rate)
                except OSError:
                    self.close_connection = True  # the client has left

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator["FakeHub"]:
        """Answer until the block ends."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()

    def environment(self, home: Path) -> dict[str, str]:
        """What points the hub's client here, with a cache of its own."""
        return {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}


def _tag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:40]
