"""What the vLLM engine was given and has not ended, and whether there is room for more."""

from collections.abc import Iterable

from inferloom_worker.engine.mailbox import Mailbox
from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engine.queue_bound import QueueBound, Waiting, ahead_of
from inferloom_worker.engine.request import GenerationRequest


class Room:
    """Counts sequences, from submission on. Not safe for threads: its user has a lock.

    Args:
        options: Limits of the queue.
        slots: Sequences that vLLM runs at once.
    """

    def __init__(self, options: EngineOptions, slots: int) -> None:
        self._bound = QueueBound(options.max_waiting, options.max_wait_s)
        self._slots = slots
        self._counted: dict[Mailbox, int] = {}
        self._ended = 0

    @property
    def mailboxes(self) -> Iterable[Mailbox]:
        """Whose sequences have not ended."""
        return list(self._counted)

    @property
    def running(self) -> int:
        """Sequences that run."""
        return min(self._slots, sum(self._counted.values()))

    def waiting(self, told: int) -> int:
        """Sequences that wait, where vLLM told that so many do."""
        return max(sum(self._counted.values()) - self._slots, told if self._counted else 0)

    def check(self, request: GenerationRequest, told: int, now: float) -> None:
        """Raise InferloomError if there is no room for a request."""
        waits, new = self.waiting(told), len(request.choices)
        own = Waiting(request.tenant, request.priority)
        # vLLM has one queue, by priority and arrival, and no turns of tenants.
        ahead = ahead_of(request.tenant, request.priority, (own for _ in range(waits)), new)
        left = None if request.deadline is None else request.deadline - now
        self._bound.check(new, ahead, waits, self.running, self._slots, left)

    def enter(self, mailbox: Mailbox) -> None:
        """Count the sequences of a request."""
        self._counted[mailbox] = len(mailbox.request.choices)

    def leave(self, mailbox: Mailbox) -> None:
        """One of them has ended."""
        if (left := self._counted.get(mailbox, 0) - 1) > 0:
            self._counted[mailbox] = left
        else:
            self._counted.pop(mailbox, None)
        self._ended += 1

    def stepped(self, ran: int, now: float) -> None:
        """vLLM has taken a step, before which so many sequences ran."""
        freed, self._ended = self._ended, 0
        self._bound.passed(ran, freed, now)
