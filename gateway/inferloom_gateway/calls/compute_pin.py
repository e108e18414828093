"""Keeps the parts of one request, and their retries, on workers that compute the same. Pure."""

from collections.abc import Container, Iterable, Sequence

from inferloom.v1.inference_pb2 import Model
from inferloom_gateway.fleet.member import Member, definition


class ComputePin:
    """The compute hash of one request: that of the first worker that accepted a part of it.

    Until then the first worker that was chosen leads, so that parts which start side by side do not part.
    Where no worker with the hash is left, one takes over whose model is the same and whose numbers differ in
    their last digits: that of another instruction set, or version of what computes.
    """

    def __init__(self) -> None:
        self.hash = ""
        """The hash; empty while no worker has accepted."""
        self._leading = ""
        self._definition = ""
        """What the model is that goes with it, where a card has told it."""

    def narrow(self, members: Sequence[Member], model: str, lost: Container[Member] = ()) -> Sequence[Member]:
        """Those of ``members``, which all hold ``model``, that may answer; itself if that is all of them.
        ``lost`` are those that cannot, whatever they compute with."""
        if not self.hash and not self._leading:
            return members
        found = self._narrow(members, model, lost)
        return members if len(found) == len(members) else found

    def _narrow(self, members: Sequence[Member], model: str, lost: Container[Member]) -> list[Member]:
        if self.hash:
            # A card without a hash is taken at its worker's word, which its first event gives.
            same = [m for m in members if m.models[model].compute_hash in ("", self.hash)]
            if _any_left(same, lost):
                return same
            self._define(m.models[model] for m in same)
            return [m for m in members if self._alike(m.models[model])]
        same = [m for m in members if m.models[model].compute_hash == self._leading]
        return same if self._leading and _any_left(same, lost) else list(members)

    def lead(self, member: Member, model: str) -> None:
        """Note that a part goes to ``member``."""
        card = member.models.get(model)
        if not self._leading and card is not None:
            self._leading = card.compute_hash

    def accept(self, compute_hash: str, card: Model | None = None) -> bool:
        """Note that a worker with this card has accepted a part; whether it computes as the others do, or
        takes over from them."""
        if not compute_hash:
            return True
        if self.hash not in ("", compute_hash):
            alike = card is not None and card.compute_hash == compute_hash and self._alike(card)
            if not alike:
                return False
        self.hash = compute_hash
        if card is not None:
            self._define([card])
        return True

    def _define(self, cards: Iterable[Model]) -> None:
        for card in cards:
            if not self._definition and card.compute_hash == self.hash:
                self._definition = definition(card)

    def _alike(self, card: Model) -> bool:
        """Whether it is the model of the hash, whatever computes it."""
        return definition(card) == (self._definition or self.hash)


def _any_left(members: Sequence[Member], lost: Container[Member]) -> bool:
    return any(member.usable and member not in lost for member in members)
