"""What is held against one request: workers that were lost with it, and with others that asked the same."""

import logging
from collections.abc import Sequence

from inferloom_gateway.calls.poison import MOST_LOSSES, Poison, digest
from inferloom_gateway.calls.suspect_claims import Claim, SharedSuspects
from inferloom_gateway.calls.suspects import Suspects
from inferloom_gateway.fleet.members import Member
from inferloom_mesh.errors import InferloomError, Reason

log = logging.getLogger(__name__)


class Suspicion:
    """One request's.

    Args:
        suspects: Where the suspects of this process are.
        shared: Where those of others are.
        poison: What is remembered of requests that are over.
        tenant: Whose it is.
        request: What was asked, as it came.
        name: What it is called.
    """

    def __init__(
        self,
        suspects: Suspects,
        shared: SharedSuspects,
        poison: Poison,
        tenant: str,
        request: object,
        name: str,
    ) -> None:
        self._suspects = suspects
        self._shared = shared
        self._poison = poison
        self._tenant = tenant
        self._request = request
        self._name = name
        self._begun = False
        self._suspect = False
        """Whether a worker was lost with it, and it has got nothing since."""
        self._losses = 0
        self._workers: list[str] = []
        """Those that were lost with itself."""
        self._digest: bytes | None = None
        self._reserved: tuple[Member | None, Claim | None] | None = None
        """The worker that it is to go to next, if other processes let it, and what tells them so. None: any.
        """
        self._others = False
        """Whether other processes had suspects on the worker that was just lost."""

    @property
    def over(self) -> bool:
        """Whether it is not to be tried again."""
        return self._losses >= MOST_LOSSES

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
        if not (self.over and self._workers):
            return None
        _, wait_s = self._poison.standing(self._tenant, self._key())
        return _not_again(wait_s) if wait_s else None

    def keeps_from(self, members: Sequence[Member], now: float) -> list[Member]:
        """The workers that cannot have it just now."""
        if not self._suspect:
            return []
        reserved, take = self._reserved, self._suspects.may_take
        return [
            each
            for each in members
            if (reserved is not None and each is not reserved[0]) or not take(each, now, self)
        ]

    @property
    def reserves(self) -> bool:
        """Whether other processes are asked where it may go."""
        return self._suspect and self._shared.claims is not None

    def unreserve(self) -> None:
        """Let it go to any worker."""
        self._suspects.leave(self)
        reserved, self._reserved = self._reserved, None
        if reserved is not None and reserved[1] is not None:
            self._shared.leave(reserved[1])

    async def reserve(self, member: Member, now: float) -> None:
        """Let it go to this worker only; nowhere, where another process has just given it a suspect."""
        self._suspects.enter(member, self, now)  # so that no other here asks for the same worker
        entered, claim = await self._shared.enter(_named(member))
        self._reserved = member if entered else None, claim
        if not entered:
            self._suspects.leave(self)
            self._suspects.taken(member, now)

    async def inquire(self, member: Member) -> None:
        """Learn whether other processes had suspects on a worker that is lost."""
        self._others = await self._shared.others(_named(member))

    def enter(self, member: Member, now: float) -> None:
        """Note that it goes to a worker."""
        if self._suspect:
            self._suspects.enter(member, self, now)

    def leave(self) -> None:
        """Note that it is there no more."""
        self.unreserve()

    def lost(self, member: Member, now: float) -> None:
        """Count a worker that was lost with it, where that may be its doing."""
        others, self._others = self._others, False
        self._reserved = None  # what told other processes of it stays, for their calls that were there
        if not self._suspects.lost(member, self, now, others=others):
            return
        self._workers.append(_named(member))
        known = self._poison.lost(self._tenant, self._key(), self._workers)
        self._losses, self._suspect = max(self._losses + 1, known), True
        if self.over:
            words = "%s: %d workers were lost with this request, which is not tried again"
            log.warning(words, self._name, self._losses)

    def token(self) -> None:
        """Note that it has got something."""
        if self._suspect:
            self._suspect = False
            self.leave()
            self._poison.acquit(self._tenant, self._key(), most=MOST_LOSSES - 1)

    def answered(self) -> None:
        """Note that it was answered to its end."""
        if self._poison.concerns(self._tenant):
            self._poison.acquit(self._tenant, self._key())

    def _key(self) -> bytes:
        if self._digest is None:
            self._digest = digest(self._request)
        return self._digest


def _named(member: Member) -> str:
    return f"{member.id}:{member.epoch}"


def _not_again(wait_s: float) -> InferloomError:
    message = "Workers were lost with this request, which is not tried again for a while."
    return InferloomError(Reason.WORKER_LOST, message, retry_after=wait_s)
