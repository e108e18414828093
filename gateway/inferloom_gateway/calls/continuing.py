"""How one call goes on elsewhere behind what its caller has. Pure."""

from collections.abc import Sequence

from inferloom.v1.inference_pb2 import GenerateRequest, Model
from inferloom_gateway.calls.continuation import RESUME, able, movable
from inferloom_gateway.calls.records import Attempt, Move
from inferloom_gateway.fleet.ask import Ask
from inferloom_gateway.fleet.members import Member


class Continuing:
    """Knows who began the call, how far its caller is, and that it moves.

    Args:
        ask: What the request asks of a worker.
    """

    def __init__(self, ask: Ask) -> None:
        self.place: int | None = None
        """How many tokens its caller had when it last moved. None: nothing that ties the rest to them."""
        self._ask = ask
        self._begun: Model | None = None
        """The card of the worker that first accepted the call, as it was when that was chosen."""
        self._left: Attempt | None = None
        """The call on the worker that it last left behind what its caller had."""
        self._moving = False
        """Whether it is to go on somewhere and does not yet."""

    @property
    def resuming(self) -> bool:
        """Whether it is to go on behind what its caller has."""
        return self.place is not None

    def begun(self, card: Model | None) -> None:
        """Note that a worker with this card has accepted the call."""
        if self._begun is None:
            self._begun = card

    def leaves(self, place: int | None, left: Attempt | None) -> bool:
        """Note that it leaves its worker at ``place``; whether it has come on since it last did. ``left`` is
        the call on that one, if it was accepted."""
        came_on = place is not None and place != self.place
        if place is not None and left is not None:
            self._left = left
        self.place, self._moving = place, place is not None
        return came_on

    def moved(self, worker: str, at_s: float) -> Move | None:
        """Note that a worker has it now, and since when; the move that this is. None: it is none."""
        if not self._moving or self.place is None:
            return None
        self._moving = False
        left, why = (self._left.worker, self._left.why) if self._left is not None else ("", "")
        return Move(self.place, left, worker, why, at_s)

    def may_move(self, there: Sequence[Member]) -> bool:
        """Whether one of ``there``, or one that may come, goes on with what another has begun."""
        begun, asked = self._begun, self._ask.request
        if begun is None or not isinstance(asked, GenerateRequest) or not movable(begun, asked):
            return False
        return RESUME in begun.supported_parameters or bool(self.able(there))

    def able(self, there: Sequence[Member]) -> Sequence[Member]:
        """Those of ``there`` that can go on with it."""
        if self._begun is None:
            return there
        return able(there, self._begun, seeded=self._ask.request.sampling.HasField("seed"))
