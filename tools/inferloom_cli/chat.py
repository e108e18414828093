"""``inferloom chat``: a conversation in the terminal."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path

import grpc
from platformdirs import user_state_path
from rich.console import Console

from inferloom.v1.inference_pb2 import TASK_CHAT
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom_cli.calls import calling, reason
from inferloom_cli.conversation import Conversation, Manner
from inferloom_cli.models import choose
from inferloom_mesh.channel import open_channel
from inferloom_mesh.net import Address

HELP = "Ctrl-C stops an answer, /new starts over, /exit or Ctrl-D leaves."


def say(gateway: Address, model: str | None, message: str, manner: Manner) -> None:
    """Print the answer to one message as it comes."""

    async def run() -> None:
        async with calling("gateway", gateway) as channel:
            name = model or await choose(channel, TASK_CHAT)
            stub = InferenceServiceStub(channel)
            await _answer(Conversation(stub, name, manner), message)

    asyncio.run(run())


def converse(gateway: Address, model: str | None, manner: Manner) -> None:
    """Read messages and print answers until the person leaves."""
    console = Console(highlight=False)
    with asyncio.Runner() as runner, _history():

        async def begin() -> tuple[grpc.aio.Channel, str]:
            async with calling("gateway", gateway) as channel:
                name = model or await choose(channel, TASK_CHAT)
            return open_channel(gateway), name

        channel, name = runner.run(begin())
        conversation = Conversation(InferenceServiceStub(channel), name, manner)
        console.print(f"[bold]{name}[/] – {HELP}")
        for message in _messages():
            if message == "/new":
                conversation.forget()
                continue
            try:
                runner.run(_answer(conversation, message))
            except KeyboardInterrupt:
                console.print("\n[dim](stopped)[/]")
            except grpc.aio.AioRpcError as failure:
                console.print(f"[red]{reason(failure, 'gateway', gateway)}[/]")
        runner.run(channel.close())


async def _answer(conversation: Conversation, message: str) -> None:
    async with aclosing(conversation.ask(message)) as pieces:
        async for text in pieces:
            sys.stdout.write(text)
            sys.stdout.flush()
    print()


def _messages() -> Iterator[str]:
    """What the person types, until they leave."""
    while True:
        try:
            message = input("> ").strip()
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print(f"\n{HELP}")
            continue
        if message == "/exit":
            return
        if message:
            yield message


@contextmanager
def _history() -> Iterator[None]:
    """Line editing with what was typed in earlier conversations, where the platform has it."""
    try:
        import readline
    except ImportError:
        yield
        return
    file: Path = user_state_path("inferloom", appauthor=False) / "chat_history"
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        readline.read_history_file(file)
    readline.set_history_length(1000)
    try:
        yield
    finally:
        with suppress(OSError):
            readline.write_history_file(file)
