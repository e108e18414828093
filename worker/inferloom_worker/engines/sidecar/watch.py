"""Looks after one server: what it is, whether it is there, and how busy it is."""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from contextlib import suppress

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.engines.sidecar.client import Client
from inferloom_worker.engines.sidecar.discovery import check_listed, discover
from inferloom_worker.engines.sidecar.facts import UNKNOWN, NotNowError, UnfitError
from inferloom_worker.engines.sidecar.server_load import LoadQuestions, ServerLoad

BEAT_S = 1.0
"""How often a server is asked."""

REMOTE_BEAT_S = 10.0
"""The same of one that is not known to have a health endpoint of its own."""

NOT_ASKED = "it was not asked yet"

LEAST_S = 0.2
"""Time between two looks that failed calls ask for: thousands may fail in a second."""

MOST_LOOK_S = 2.0
"""How long a call that failed waits for what a look says."""

LATE_S = 5.0
"""How long it may take to say how it is."""

PATIENCE = 3
"""Times in a row that it may answer late before it is away. One that refuses connections is at once."""

_UNREACHED = frozenset((errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ENETDOWN))
"""What a system says where no machine has answered."""

log = logging.getLogger(__name__)


class Watch:
    """Asks a server what it is, and then again and again whether it is there. Lives on the event loop.

    Args:
        client: Speaks to it.
        name: What its model is served as.
        changed: Called when it went away, came back, or became another.
        unheard: Called after each look in a row, from the third on, in which nothing at all came from it. One
            that refuses connections is there: it may stop in order, and still end its answers.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        changed: Callable[[], object],
        unheard: Callable[[], object] = lambda: None,
    ) -> None:
        self.facts = UNKNOWN
        self.load = ServerLoad()
        self.away: str | None = NOT_ASKED
        """Why it cannot be asked now. None: it can."""
        self._client = client
        self._name = name
        self._changed = changed
        self._unheard = unheard
        self._late = 0
        self._fails = False
        """Whether the last look failed in a way that was not foreseen."""
        self._unfit = False
        """Whether it is away because it is none that can be served."""
        self._loads = LoadQuestions(client)
        self._now = asyncio.Event()
        self._looked = asyncio.Event()
        """Set once the look that begins next is over."""
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Find out what it is, and look after it from now on. One that cannot be asked now is away.

        Raises:
            UnfitError: It is there, and cannot be served.
        """
        try:
            why = await self._why(closely=False)
        except InferloomError as error:
            self._note(error.message, error)
        else:
            if self._unfit:
                raise UnfitError(why)
            self._note(why)
        self._task = asyncio.create_task(self._run(), name="watch of a server")

    def look(self) -> None:
        """Ask it now, and whether it still has the model: a call to it failed."""
        self._now.set()

    async def looked(self) -> bool:
        """Ask it now, and return when what it says is known; whether that is so, or it takes too long."""
        looked = self._looked
        self._now.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(MOST_LOOK_S):
                await looked.wait()
        return looked.is_set()

    async def close(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        closely = False
        while True:
            looked, self._looked = self._looked, asyncio.Event()
            await self._look_surely(closely=closely)
            looked.set()
            if closely:
                await asyncio.sleep(LEAST_S)
            try:
                async with asyncio.timeout(self._between_s):
                    await self._now.wait()
            except TimeoutError:
                closely = False
            else:
                closely = True
                self._now.clear()

    @property
    def _between_s(self) -> float:
        """Until the next look."""
        if self._unfit:
            return REMOTE_BEAT_S  # somebody has to mend it
        hurry = self.away is not None or self._late
        return BEAT_S if hurry or self.facts.manner.health else REMOTE_BEAT_S

    async def _look_surely(self, *, closely: bool) -> None:
        """Whatever a server says, it is asked again."""
        try:
            await self._look(closely=closely)
        except Exception:  # a bug, or what nobody thought of: the server must be asked again
            if not self._fails:  # once a second would be too often
                log.exception("looking after the server of %s failed", self._name)
            self._fails = True
        else:
            self._fails = False

    async def _look(self, *, closely: bool) -> None:
        try:
            why = await self._why(closely=closely)
        except InferloomError as error:
            silent = _silent(error)
            self._late = self._late + 1 if silent else 0
            if error.reason is Reason.TIMEOUT and self._late < PATIENCE and self.away is None:
                return
            self._note(error.message, error)
            if silent and self._late >= PATIENCE:
                self._unheard()
            return
        self._late = 0
        self._note(why)
        if why is None and (load := await self._loads.ask(self.facts)) is not None:
            self.load = load

    async def _why(self, *, closely: bool) -> str | None:
        """Why it cannot be used, in its own words. None: it can.

        Raises:
            InferloomError: It cannot be asked.
        """
        self._unfit, before = False, self.facts
        why = await self._unwell()
        try:
            if why is None and self.away is not None:
                self.facts = await discover(self._client)
                self._loads = LoadQuestions(self._client)
                # One that was not known has not been asked how it is.
                why = await self._unwell() if before is UNKNOWN else None
            elif why is None and (closely or not before.manner.health):
                await check_listed(self._client, before.model)
        except UnfitError as failure:
            self._unfit, why = True, str(failure)
        except NotNowError as failure:
            why = str(failure)
        return why

    async def _unwell(self) -> str | None:
        """What is wrong with its health, where it has something that tells."""
        if self.facts is UNKNOWN or not self.facts.manner.health:
            return None
        url = f"{self._client.address.root}{self.facts.manner.health}"
        answer = await self._client.get(url, limit_s=LATE_S)
        return None if answer.status < 500 else self._client.refusal(answer).message

    def _note(self, why: str | None, error: InferloomError | None = None) -> None:
        before, self.away = self.away, why
        if why is not None and why != before:
            # Where it is, and what the network says, is for who runs the worker, and not for callers.
            cause = "" if error is None or error.__cause__ is None else f" ({error.__cause__})"
            root = self._client.address.root
            words = "%s: its server at %s cannot be used, and is asked again: %s%s"
            log.warning(words, self._name, root, why, cause)
        if (before is None) == (why is None):
            return
        if why is None:
            log.info("%s: %s is served by %s", self._name, self.facts.model, self.facts.server)
        else:
            self.load = ServerLoad()
        try:
            self._changed()
        except Exception:  # without a new card the model stays away
            self.away = self.away or before
            raise


def _silent(error: InferloomError) -> bool:
    """Whether nothing came, of the server or of the system that it runs on."""
    failure = getattr(error.__cause__, "os_error", error.__cause__)
    unreached = isinstance(failure, socket.gaierror) or (
        isinstance(failure, OSError) and failure.errno in _UNREACHED
    )
    return error.reason is Reason.TIMEOUT or unreached or isinstance(failure, TimeoutError)
