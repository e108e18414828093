"""``inferloom top``: the mesh on the terminal, as it is and as it changes."""

import asyncio
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import grpc
from google.protobuf.json_format import MessageToDict
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live

from inferloom.v1 import gateway_pb2 as pb
from inferloom.v1.gateway_pb2_grpc import GatewayServiceStub
from inferloom_cli.calls import DEADLINE_S, calling
from inferloom_cli.client_settings import ClientSettings
from inferloom_cli.gateway_door import Door, door_of
from inferloom_cli.keyboard import settings_of
from inferloom_cli.terminal import terminal
from inferloom_cli.top_screen import screen

_AGAIN_S = 1.0
"""Time between two tries to come back to a gateway that went away."""

_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


async def top(settings: ClientSettings, api_key: str | None, *, once: bool, as_json: bool) -> None:
    """Show the mesh until ``q`` is pressed or the program is interrupted; once, where nobody can see it move.

    As JSON: a line for each change, or with ``once`` one object.

    Raises:
        RefusedError: The gateway does not answer, or does not let its caller look.
    """
    console = terminal()
    door = await door_of(settings, api_key)
    if as_json and not once:
        await _print_changes(door)
    elif once or not console.is_terminal:
        mesh = await _mesh(door)
        if as_json:
            print(json.dumps(_fields(mesh), indent=2))
        else:
            console.print(screen(mesh, console.width, 0))
    else:
        await _Top(door, console).run()


async def _mesh(door: Door) -> pb.Mesh:
    async with calling("gateway", *door) as channel:
        asked = pb.GetMeshRequest()
        return (await GatewayServiceStub(channel).GetMesh(asked, timeout=DEADLINE_S)).mesh


async def _print_changes(door: Door) -> None:
    async with calling("gateway", *door) as channel:
        async for answer in GatewayServiceStub(channel).WatchMesh(pb.WatchMeshRequest()):
            print(json.dumps(_fields(answer.mesh)), flush=True)


def _fields(mesh: pb.Mesh) -> object:
    return MessageToDict(mesh, preserving_proto_field_name=True)


class _Top:
    """The live view.

    Args:
        door: Where the mesh is watched.
        console: The terminal.
    """

    def __init__(self, door: Door, console: Console) -> None:
        self._door = door
        self._console = console
        self._mesh = pb.Mesh()
        self._away = ""
        self._rates: deque[float] = deque(maxlen=120)
        self._news = asyncio.Event()
        self._left = asyncio.Event()

    async def run(self) -> None:
        """Show it until the person at the keyboard leaves."""
        self._mesh = await _mesh(self._door)  # what is refused is told without a screen
        loop = asyncio.get_running_loop()
        following = asyncio.create_task(self._follow())
        counting = asyncio.create_task(self._count())
        leaving = asyncio.create_task(self._left.wait())
        with suppress(NotImplementedError, AttributeError):  # there are systems without
            loop.add_signal_handler(signal.SIGWINCH, self._news.set)
        try:
            with (
                self._keys(),
                Live(self, console=self._console, screen=True, auto_refresh=False) as live,
            ):
                while not self._left.is_set():
                    self._news.clear()
                    live.refresh()
                    news = asyncio.create_task(self._news.wait())
                    await asyncio.wait({news, leaving, following}, return_when=asyncio.FIRST_COMPLETED)
                    news.cancel()
                    if following.done():
                        following.result()
                        return
        finally:
            for task in (following, counting, leaving):
                task.cancel()
            await asyncio.gather(following, counting, leaving, return_exceptions=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What is shown, in the size that the terminal has when it is drawn."""
        width, height = console.size
        yield screen(self._mesh, width, height, list(self._rates), self._away)

    async def _follow(self) -> None:
        """Take what the gateway tells; come back to it when it went away."""
        while True:
            async with calling("gateway", *self._door) as channel:
                try:
                    async for answer in GatewayServiceStub(channel).WatchMesh(pb.WatchMeshRequest()):
                        self._mesh, self._away = answer.mesh, ""
                        self._news.set()
                except grpc.aio.AioRpcError as failure:
                    if failure.code() not in _AWAY:
                        raise
            self._away = f"the gateway at {self._door.address} is away; this is what it said last"
            self._news.set()
            await asyncio.sleep(_AGAIN_S)

    async def _count(self) -> None:
        """Once a second, note how many tokens there were, and draw the clock."""
        while True:
            self._rates.append(0.0 if self._away else self._mesh.activity.tokens_per_second)
            self._news.set()
            await asyncio.sleep(1.0)

    def _press(self) -> None:
        """Read what was typed: q leaves, and so does the end of the keyboard."""
        typed = os.read(sys.stdin.fileno(), 64)
        if not typed or b"q" in typed.lower():
            self._left.set()

    @contextmanager
    def _keys(self) -> Iterator[None]:
        """Take keys as they are pressed; without effect where there is no keyboard."""
        before = settings_of(sys.stdin)
        if before is None:
            yield
            return
        import termios
        import tty

        descriptor = sys.stdin.fileno()
        loop = asyncio.get_running_loop()
        tty.setcbreak(descriptor)
        loop.add_reader(descriptor, self._press)
        try:
            yield
        finally:
            loop.remove_reader(descriptor)
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
