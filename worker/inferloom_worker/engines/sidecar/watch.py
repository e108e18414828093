"""Looks after one server: whether it is there, and how busy it is."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.engines.sidecar import reading
from inferloom_worker.engines.sidecar.client import Answer, Client
from inferloom_worker.engines.sidecar.discovery import discover
from inferloom_worker.engines.sidecar.facts import Facts, UnfitError
from inferloom_worker.engines.sidecar.gauges import gauges, kv_tokens
from inferloom_worker.engines.sidecar.kinds import ServerKind
from inferloom_worker.engines.sidecar.sse import MalformedError

BEAT_S = 1.0
"""How often a server is asked."""

REMOTE_BEAT_S = 10.0
"""The same of one that is not known to have a health endpoint of its own."""

PATIENCE = 3
"""Times in a row that it may answer late before it is away. One that refuses connections is at once."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServerLoad:
    """How busy a server says it is, whoever asked it. Zeros: it does not say."""

    running: int = 0
    waiting: int = 0
    free_kv_tokens: int = 0
    total_kv_tokens: int = 0


class Watch:
    """Asks a server again and again. Lives on the event loop.

    Args:
        client: Speaks to it.
        facts: What it was.
        changed: Called when it went away, came back, or became another.
    """

    def __init__(self, client: Client, facts: Facts, changed: Callable[[], object]) -> None:
        self.facts = facts
        self.load = ServerLoad()
        self.away: str | None = None
        """Why it cannot be asked now. None: it can."""
        self._client = client
        self._changed = changed
        self._late = 0
        self._fails = False
        """Whether the last look failed in a way that was not foreseen."""
        self._asks_load = True
        self._now = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name="watch of a server")

    def look(self) -> None:
        """Ask it now: a call to it failed."""
        self._now.set()

    async def close(self) -> None:
        """Ask no more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        health = self.facts.manner.health
        between = BEAT_S if health else REMOTE_BEAT_S
        url = f"{self._client.address.root}{health}" if health else f"{self._client.address.api}/models"
        while True:
            await self._look_surely(url)
            try:
                async with asyncio.timeout(between if self.away is None else BEAT_S):
                    await self._now.wait()
            except TimeoutError:
                continue
            self._now.clear()

    async def _look_surely(self, url: str) -> None:
        """Whatever a server says, it is asked again."""
        try:
            await self._look(url)
        except Exception:  # a bug, or what nobody thought of: the server must be asked again
            if not self._fails:  # once a second would be too often
                log.exception("looking after the server of %s failed", self.facts.model)
            self._fails = True
        else:
            self._fails = False

    async def _look(self, url: str) -> None:
        try:
            answer = await self._client.get(url)
            why = None if answer.status < 500 else self._client.refusal(answer).message
        except InferloomError as error:
            self._late += 1
            if error.reason is Reason.TIMEOUT and self._late < PATIENCE and self.away is None:
                return
            why = error.message
        if why is None and self.away is not None:
            why = await self._again()
        if why is None:
            self._late = 0
        self._note(why)
        if why is None and self._asks_load:
            await self._ask_load()

    async def _again(self) -> str | None:
        """It answers again: find out what it is now. Returns why it is none that can be asked."""
        try:
            self.facts = await discover(self._client)
        except (UnfitError, InferloomError) as failure:
            return str(failure)
        self._asks_load = True
        return None

    def _note(self, why: str | None) -> None:
        before, self.away = self.away, why
        if (before is None) == (why is None):
            return
        model = self.facts.model
        if why is None:
            log.info("the server of %s is back: %s", model, self.facts.server)
        else:
            log.warning("the server of %s cannot be used, and is asked again: %s", model, why)
            self.load = ServerLoad()
        try:
            self._changed()
        except Exception:  # without a new card the model stays away
            self.away = self.away or before
            raise

    async def _ask_load(self) -> None:
        names, root = self.facts.manner.gauges, self._client.address.root
        try:
            answer = await self._client.get(f"{root}/metrics") if names else None
            if answer is not None and answer.status == 200:
                self.load = self._of_gauges(answer)
            elif self.facts.kind is ServerKind.LLAMA:
                self.load = _of_slots(await self._client.get(f"{root}/slots"))
            else:
                self._asks_load = False
        except MalformedError:
            self._asks_load = False
        except InferloomError:
            return  # the next look tells what that means

    def _of_gauges(self, answer: Answer) -> ServerLoad:
        names = self.facts.manner.gauges
        found = gauges(answer.body, names.values())
        values = {ours: max(0.0, min(1e9, found.get(theirs, 0.0))) for ours, theirs in names.items()}
        total = kv_tokens(answer.body)
        return ServerLoad(
            running=int(values["running"]),
            waiting=int(values["waiting"]),
            free_kv_tokens=int(total * (1 - min(1.0, values.get("kv_use", 0.0)))),
            total_kv_tokens=total,
        )


def _of_slots(answer: Answer) -> ServerLoad:
    """Of llama-server's list of slots. Raises MalformedError."""
    if answer.status != 200:
        raise MalformedError("no slots")
    slots = reading.items(reading.value(answer.body), "slots", 2**16)
    return ServerLoad(running=sum(reading.obj(each, "a slot").get("is_processing") is True for each in slots))
