"""Keeps the parts of one request, and their retries, on workers that compute the same. Pure."""

from collections.abc import Sequence

from inferloom_gateway.fleet.members import Member


class ComputePin:
    """The compute hash of one request: that of the first worker that accepted a part of it.

    Until then the first worker that was chosen leads, so that parts which start side by side do not part.
    """

    def __init__(self) -> None:
        self.hash = ""
        """The hash; empty while no worker has accepted."""
        self._leading = ""

    def narrow(self, members: Sequence[Member], model: str) -> Sequence[Member]:
        """Those of ``members``, which all hold ``model``, that may answer; itself if that is all of them."""
        if not self.hash and not self._leading:
            return members
        found = self._narrow(members, model)
        return members if len(found) == len(members) else found

    def _narrow(self, members: Sequence[Member], model: str) -> list[Member]:
        if self.hash:
            # A card without a hash is taken at its worker's word, which its first event gives.
            return [m for m in members if m.models[model].compute_hash in ("", self.hash)]
        same = [m for m in members if m.models[model].compute_hash == self._leading]
        return same if self._leading and same else list(members)

    def lead(self, member: Member, model: str) -> None:
        """Note that a part goes to ``member``."""
        card = member.models.get(model)
        if not self._leading and card is not None:
            self._leading = card.compute_hash

    def accept(self, compute_hash: str) -> bool:
        """Note that a worker has accepted a part; whether it computes as the others do."""
        if not self.hash:
            self.hash = compute_hash
        return not compute_hash or compute_hash == self.hash
