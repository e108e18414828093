"""What models were at workers that have gone, which will mostly be back: they were restarted. Pure; time is
given in."""

from collections.abc import Collection, Iterable, Iterator

from inferloom.v1.inference_pb2 import Model
from inferloom_gateway.fleet.ask import Wanted
from inferloom_gateway.fleet.member import Member


class Past:
    """Keeps the cards of models that workers had when they went.

    Args:
        memory_s: For how long it does, unless a worker is back under its name with that model.
    """

    def __init__(self, memory_s: float) -> None:
        self._memory_s = memory_s
        self._there: dict[str, dict[str, Model]] = {}
        """The cards of the models that are there, by model and worker."""
        self._gone: dict[str, dict[str, tuple[Model, float]]] = {}
        """Those that were, each with when its worker went."""

    def note(self, members: Iterable[Member], unloaded: Collection[str], now: float) -> None:
        """Note who is there now, and which models were unloaded: these are forgotten at once."""
        before, self._there = self._there, {}
        for member in members:
            for name, card in member.models.items():
                self._there.setdefault(name, {})[member.id] = card
        for name, cards in before.items():
            there = self._there.get(name, {})
            if name not in unloaded and (left := cards.keys() - there.keys()):
                self._gone.setdefault(name, {}).update({worker: (cards[worker], now) for worker in left})
        for name, gone in list(self._gone.items()):
            there = self._there.get(name, {})
            kept = {
                worker: (card, at)
                for worker, (card, at) in gone.items()
                if name not in unloaded and worker not in there and now - at <= self._memory_s
            }
            if kept:
                self._gone[name] = kept
            else:
                del self._gone[name]

    def cards(self, model: str) -> Iterator[Model]:
        """The cards of a model at workers that have gone."""
        return (card for card, _ in self._gone.get(model, {}).values())

    def had(self, wanted: Wanted, now: float) -> bool:
        """Whether one of these had all that is wanted."""
        gone = self._gone.get(wanted.model, {}).values()
        return any(now - at <= self._memory_s and wanted.told(card) for card, at in gone)
