"""What is held against one request: workers that were lost with it, and with others that asked the same."""

import logging
from collections.abc import Sequence

from inferloom_gateway.calls.poison import MOST_LOSSES, Poison, digest
from inferloom_gateway.calls.suspects import Blame, Suspects
from inferloom_gateway.fleet.members import Member
from inferloom_mesh.errors import InferloomError, Reason

log = logging.getLogger(__name__)

CAME_ON = 32
"""Tokens after which a generation is not what ended its worker before: one that ends workers at some token
ends the next at the same one. A few of those that a lost worker had made had not arrived."""

MOST_IN_ALL = 4
"""Workers that may be lost with a request, however far it comes between. They are remembered of it then."""


class Suspicion:
    """One request's.

    Args:
        suspects: Where the suspects of this process are.
        poison: What is remembered of requests that are over.
        tenant: Whose it is.
        request: What was asked, as it came.
        name: What it is called.
    """

    def __init__(self, suspects: Suspects, poison: Poison, tenant: str, request: object, name: str) -> None:
        self._suspects = suspects
        self._poison = poison
        self._tenant = tenant
        self._request = request
        self._name = name
        self._begun = False
        self._suspect = False
        """Whether a worker was lost with it, and it has got nothing since."""
        self._alone = False
        """Whether a worker was lost with it and other suspects, so that it goes on alone."""
        self._losses = 0
        self._place = 0
        """How many tokens it had when a worker was last lost with it."""
        self._member: Member | None = None
        """The worker that it is on."""
        self._epoch = 0
        """Which of its worker's name that is, or was the last."""
        self._workers: list[str] = []
        """Those that were lost with itself, since it came on."""
        self._in_all: list[str] = []
        """The same, with those before, and those that were lost with it and others."""
        self._digest: bytes | None = None

    @property
    def suspect(self) -> bool:
        """Whether it takes turns with others like it."""
        return self._suspect

    @property
    def alone(self) -> bool:
        """Whether it goes to a worker without others like it."""
        return self._alone

    @property
    def over(self) -> bool:
        """Whether it is not to be tried again."""
        return self._losses >= MOST_LOSSES or len(self._in_all) >= MOST_IN_ALL

    def begin(self) -> None:
        """Look at what is remembered of others like it, once.

        Raises:
            InferloomError: It is not to be tried now.
        """
        if self._begun:
            return
        self._begun = True
        if not self._poison.concerns(self._tenant):
            return
        losses, wait_s = self._poison.standing(self._tenant, self._key())
        if wait_s:
            raise _not_again(wait_s)
        if losses:
            self._losses, self._suspect = MOST_LOSSES - 1, True

    def barred(self) -> InferloomError | None:
        """What its client is told, if too many workers were lost with it. None: something else."""
        if not self.over:
            return None
        _, wait_s = self._poison.standing(self._tenant, self._key())
        return _not_again(wait_s) if wait_s else None

    def keeps_from(self, members: Sequence[Member], now: float) -> list[Member]:
        """The workers that cannot have it just now."""
        if not self._suspect:
            return []
        return [each for each in members if not self._suspects.may_take(each, now, alone=self._alone)]

    def enter(self, member: Member, now: float) -> None:
        """Note that it goes to a worker."""
        self._member, self._epoch = member, member.epoch
        if self._suspect:
            self._suspects.enter(member, self, now, alone=self._alone)
        elif self._losses:
            self._suspects.mark(member, self)

    def leave(self) -> None:
        """Note that it is there no more."""
        self._member = None
        self._suspects.leave(self)
        self._suspects.unmark(self)

    def lost(self, member: Member, now: float, place: int = 0) -> None:
        """Count a worker that was lost with it, where that may be its doing, when it had ``place`` tokens."""
        blame = self._suspects.lost(member, self, now, self._epoch)
        if blame is Blame.NONE:
            return
        came_on = place - self._place >= CAME_ON
        self._place = place
        worker = f"{member.id}:{self._epoch}"
        self._in_all.append(worker)
        if came_on:
            self._losses = 0
            self._workers.clear()
        if blame is Blame.SHARED and not (self._alone or came_on):
            self._alone, self._suspect = self._suspect, True  # the next one tells
        else:
            self._workers.append(worker)
            known = self._poison.lost(self._tenant, self._key(), self._workers)
            self._losses, self._suspect = max(self._losses + 1, known), True
        if len(self._in_all) >= MOST_IN_ALL:  # its tokens acquitted it of each by itself
            self._poison.lost(self._tenant, self._key(), self._in_all)
        if self.over:
            words = "%s: %d workers were lost with this request, which is not tried again"
            log.warning(words, self._name, max(self._losses, len(self._in_all)))

    def token(self) -> None:
        """Note that it has got something."""
        if self._suspect:
            self._suspect = self._alone = False
            self._suspects.leave(self)
            if self._member is not None:
                self._suspects.mark(self._member, self)
            self._poison.acquit(self._tenant, self._key(), most=MOST_LOSSES - 1)

    def answered(self) -> None:
        """Note that it was answered to its end."""
        if self._poison.concerns(self._tenant):
            self._poison.acquit(self._tenant, self._key())

    def _key(self) -> bytes:
        if self._digest is None:
            self._digest = digest(self._request)
        return self._digest


def _not_again(wait_s: float) -> InferloomError:
    message = "Workers were lost with this request, which is not tried again for a while."
    return InferloomError(Reason.REQUEST_BARRED, message, retry_after=wait_s)
