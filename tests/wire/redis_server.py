"""A real Redis for tests, on a socket of the file system."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.patience import PATIENCE_S

SERVER = shutil.which("redis-server")

needs_redis = pytest.mark.skipif(SERVER is None, reason="redis-server is not installed")


class RedisServer:
    """A server that can be stopped and started again with what it had."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{folder}/socket"

    def start(self) -> None:
        """Listen."""
        assert SERVER is not None
        options = ("--port", "0", "--unixsocket", f"{self._folder}/socket", "--appendonly", "yes")
        self._process = subprocess.Popen(
            [SERVER, *options, "--dir", str(self._folder), "--logfile", f"{self._folder}/log"]
        )
        deadline = time.monotonic() + 20
        while not self._answers():
            assert time.monotonic() < deadline, "Redis does not start"
            time.sleep(0.02)  # it tells nobody when it listens

    def stop(self) -> None:
        """Stop it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE_S)
            self._process = None

    def _answers(self) -> bool:
        from redis import Redis, RedisError

        try:
            with Redis.from_url(self.url) as client:
                return bool(client.ping())
        except RedisError:
            return False


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """A server until the block ends."""
    with TemporaryDirectory(prefix="redis-") as folder:  # a socket's path must be short
        server = RedisServer(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()
