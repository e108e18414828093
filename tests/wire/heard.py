"""What gateways of this process have read of workers' streams.

What a worker has said is on its way for as long as the machine likes; a test in which it dies then has to
know whether it had arrived.
"""

from collections import Counter

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls.attempts import Attempts
from inferloom_gateway.calls.delivery import Delivery
from inferloom_gateway.fleet.members import Member
from tests.patience import until_async

_ACCEPTED: set[tuple[str, str]] = set()
_ITEMS: Counter[tuple[str, str]] = Counter()
"""By worker and request, its tokens or vectors."""

_accepted, _frame = Attempts.accepted, Delivery.frame


async def heard(worker_id: str, request: pb.GenerateRequest | pb.EmbedRequest, items: int = 0) -> None:
    """Wait until a gateway knows that the worker has accepted a request, which is not one of several that the
    gateway made of one, and has so many tokens or vectors of it."""
    key = worker_id, request.request_id
    await until_async(
        lambda: _ITEMS[key] if key in _ACCEPTED else -1, f"{items} items", lambda seen: seen >= items
    )


def _note_accepted(self: Attempts, member: Member, compute_hash: str) -> None:
    _accepted(self, member, compute_hash)
    _ACCEPTED.add((member.id, self._record.context.request_id))


def _note_frame(self: Delivery, count: int) -> None:
    _frame(self, count)
    if self.attempt is not None:
        _ITEMS[self.attempt.worker, self._record.context.request_id] += count


Attempts.accepted = _note_accepted  # type: ignore[method-assign]  # tests look where nothing is told
Delivery.frame = _note_frame  # type: ignore[method-assign]
