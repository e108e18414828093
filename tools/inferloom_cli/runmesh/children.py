"""One child process of the supervisor: its pipes, its log lines, its end."""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

from inferloom_cli.runmesh.readiness import READY_VARIABLE, Report
from inferloom_mesh.runtime import LIFELINE_VARIABLE

_LINE_BYTES = 2**20


class Lifeline:
    """A pipe that this process alone holds open: children read its end as the end of this process."""

    def __init__(self) -> None:
        self.child_end, self._own_end = os.pipe()  # not inherited unless passed on by name

    def close(self) -> None:
        """Let go of the children."""
        os.close(self._own_end)
        os.close(self.child_end)


@dataclass(slots=True)
class Child:
    """A running service. It leads a session of its own, so a terminal's Ctrl-C does not reach it."""

    process: asyncio.subprocess.Process
    ready: "asyncio.Task[Report | None]"
    """What it said of itself when it was ready; None if it ended before that."""
    _lines: "asyncio.Task[None]"

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        lifeline: Lifeline,
        on_line: Callable[[str], None],
        environment: Mapping[str, str] = MappingProxyType({}),
        given: bytes = b"",
    ) -> Self:
        """Start ``command``; each line that it writes, to either stream, goes to ``on_line``.

        ``environment`` is added to this process's, and ``given`` is what it reads from its standard input:
        secrets go there, because everybody can read a command line.
        """
        read_end, write_end = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=subprocess.PIPE if given else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                limit=_LINE_BYTES,
                pass_fds=(lifeline.child_end, write_end),
                start_new_session=True,
                env={
                    **os.environ,
                    **environment,
                    LIFELINE_VARIABLE: str(lifeline.child_end),
                    READY_VARIABLE: str(write_end),
                },
            )
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        if process.stdin is not None:
            process.stdin.write(given)
            process.stdin.close()  # once that has gone through
        assert process.stdout is not None
        return cls(
            process,
            asyncio.create_task(_read_report(read_end)),
            asyncio.create_task(_pump(process.stdout, on_line)),
        )

    async def wait(self) -> int:
        """Wait for the end, and for the last line; return the exit status, negative for a signal."""
        status = await self.process.wait()
        # A process that it started and left behind could hold the pipe open for ever.
        with suppress(TimeoutError):
            await asyncio.wait_for(self._lines, timeout=1)
        self.ready.cancel()
        return status

    def terminate(self) -> None:
        """Ask it to drain and end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it and whatever it started, at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self.process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            if number is signal.SIGKILL:
                os.killpg(self.process.pid, number)
            else:
                self.process.send_signal(number)


async def _read_report(read_end: int) -> Report | None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb")
    )
    try:
        line = await reader.readline()
        return json.loads(line) if line else None
    finally:
        transport.close()


async def _pump(stream: asyncio.StreamReader, on_line: Callable[[str], None]) -> None:
    while True:
        try:
            line = await stream.readline()
        except ValueError:  # a line over the limit, dropped
            continue
        if not line:
            return
        on_line(line.decode(errors="replace").rstrip("\r\n"))
