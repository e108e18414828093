"""``inferloom chat``: a conversation in the terminal."""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import aclosing

import grpc
from rich.text import Text

from inferloom.v1.inference_pb2 import TASK_CHAT, Model
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from inferloom_cli.calls import calling, opened
from inferloom_cli.chat_commands import (
    COMMANDS,
    MORE,
    Command,
    DroppedError,
    UnknownCommandError,
    messages,
    read,
)
from inferloom_cli.chat_settings import change, shown
from inferloom_cli.conversation import Conversation, Manner
from inferloom_cli.credentials import NOTHING, Credentials
from inferloom_cli.keyboard import history, unechoed
from inferloom_cli.model_choice import choose
from inferloom_cli.models import list_models
from inferloom_cli.refusal import RefusedError
from inferloom_cli.terminal import harmless, terminal
from inferloom_cli.trouble import trouble_of
from inferloom_mesh.net import Address

HINT = "/help shows what you can type; Ctrl-C stops an answer, Ctrl-D leaves."


def say(
    gateway: Address, model: str | None, message: str, manner: Manner, shown: Credentials = NOTHING
) -> None:
    """Print the answer to one message as it comes.

    Raises:
        RefusedError: There is no such model, or it did not answer.
    """

    async def run() -> None:
        async with calling("gateway", gateway, shown) as channel:
            card = choose(await list_models(channel), TASK_CHAT, model)
            stub = InferenceServiceStub(channel)
            await _answer(Conversation(stub, card.id, manner.on(card)), message)

    asyncio.run(run())


def converse(gateway: Address, model: str | None, manner: Manner, shown: Credentials = NOTHING) -> None:
    """Read messages and print answers until the person leaves.

    Raises:
        RefusedError: There is no such model, or no gateway.
    """
    with asyncio.Runner() as runner, history():
        talk = Talk(gateway, manner, runner, shown)
        talk.turn_to(model)
        try:
            talk.run()
        finally:
            talk.close()


class Talk:
    """A conversation with a person at the terminal.

    Args:
        gateway: Where its gRPC port is.
        manner: How answers are asked for to begin with.
        runner: Runs what waits for the gateway.
        shown: Says who calls it.
    """

    def __init__(
        self, gateway: Address, manner: Manner, runner: asyncio.Runner, shown: Credentials = NOTHING
    ) -> None:
        self._gateway = gateway
        self._shown = shown
        self._runner = runner
        self._manner = manner
        self._console = terminal()
        self._channel = runner.run(_opened(gateway, shown))
        self._card = Model()
        self._conversation = Conversation(InferenceServiceStub(self._channel), "", manner)

    def turn_to(self, model: str | None) -> None:
        """Talk to a model from now on; None: to the first that fits.

        Raises:
            RefusedError: There is no such model, or no gateway.
        """
        self._card = choose(self._runner.run(_served(self._gateway, self._shown)), TASK_CHAT, model)
        self._conversation.model = self._card.id

    def run(self) -> None:
        """Take messages and commands until the person leaves."""
        self._console.print(Text.assemble((self._card.id, "bold"), f" – {HINT}"))
        typed = messages(self._ask)
        while True:
            try:
                message = next(typed, None)
            except EOFError:
                print()
                return
            assert message is not None
            try:
                command = None if message.quoted else read(message.text)
            except UnknownCommandError as unknown:
                self._tell(str(unknown), "yellow")
                continue
            if command is None:
                self._send(message.text)
            elif command.word == "/bye":
                return
            else:
                self._obey(command)

    def close(self) -> None:
        """Hang up."""
        self._runner.run(self._channel.close())

    def _ask(self, prompt: str) -> str:
        while True:
            try:
                return input(prompt)
            except KeyboardInterrupt:
                print(f"\n{HINT}")
                if prompt == MORE:
                    raise DroppedError from None

    def _send(self, message: str) -> None:
        self._conversation.manner = self._manner.on(self._card)
        try:
            with unechoed():
                self._runner.run(_answer(self._conversation, message))
        except KeyboardInterrupt:
            self._console.print("\n(stopped)", style="dim")
        except grpc.aio.AioRpcError as failure:
            self._tell(str(trouble_of(failure, "gateway", self._gateway, self._shown)), "red")
        else:
            if rate := self._conversation.rate():
                self._tell(rate, "dim")

    def _obey(self, command: Command) -> None:
        word, rest = command.word, command.rest
        if word == "/new":
            self._conversation.forget()
            self._tell("a new conversation", "dim")
        elif word == "/model":
            self._model(rest)
        elif word == "/system":
            if rest:
                self._manner = self._manner.instructed(None if rest == "off" else rest)
            self._tell(self._manner.system or "no standing instructions", "dim")
        elif word == "/set":
            self._set(rest)
        else:
            width = max(map(len, COMMANDS))
            self._tell("\n".join(f"{name:{width}}  {help_}" for name, help_ in COMMANDS.items()))

    def _model(self, name: str) -> None:
        try:
            if name:
                self.turn_to(name)
                self._tell(f"now talking to {name}; it is told what was said", "dim")
                return
            for model in self._runner.run(_served(self._gateway, self._shown)):
                if TASK_CHAT in model.tasks:
                    self._tell(f"{'*' if model.id == self._card.id else ' '} {model.id}")
        except RefusedError as refusal:
            self._tell(str(refusal), "yellow")

    def _set(self, words: str) -> None:
        name, _, value = words.replace("=", " ", 1).partition(" ")
        card = self._card.sampling_defaults
        try:
            if value.strip():
                change(self._manner.sampling, self._manner.stopping, name, value.strip())
            elif name:
                raise ValueError("write /set NAME VALUE, or /set alone to see the values")
        except ValueError as wrong:
            self._tell(str(wrong), "yellow")
            return
        lines = shown(self._manner.sampling, self._manner.stopping, card)
        self._tell("\n".join(lines or ["nothing is set"]), "dim")

    def _tell(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style=style), soft_wrap=True)


async def _opened(gateway: Address, shown: Credentials) -> grpc.aio.Channel:
    return opened("gateway", gateway, shown)


async def _served(gateway: Address, shown: Credentials) -> Sequence[Model]:
    async with calling("gateway", gateway, shown) as channel:
        return await list_models(channel)


async def _answer(conversation: Conversation, message: str) -> None:
    told = harmless if sys.stdout.isatty() else str
    async with aclosing(conversation.ask(message)) as pieces:
        async for text in pieces:
            sys.stdout.write(told(text))
            sys.stdout.flush()
    print()
