"""The models of one worker by the names that requests use, loaded or on their way."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.durations import duration, seconds
from inferloom_mesh.errors import InferloomError, Reason, invalid
from inferloom_mesh.suggestion import model_not_found
from inferloom_worker.hosting.refusals import not_now
from inferloom_worker.hosting.served import ServedModel
from inferloom_worker.stepping.longest_step import worth_telling


class Catalogue:
    """Models by name, and their variants: adapters, whose card names the model as ``parent``, and aliases,
    whose card says ``alias_of``. They go with their model.

    Args:
        on_change: Called when a name is being loaded that nobody expected.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._models: dict[str, ServedModel] = {}
        self._loading: dict[str, str | None] = {}
        """Names that are being loaded, and the base of an adapter's."""
        self._expected: frozenset[str] = frozenset()
        self._aliases: dict[str, str] = {}

    @property
    def models(self) -> Sequence[ServedModel]:
        """The loaded models without their variants, in order of name."""
        served = (self._models[name] for name in sorted(self._models))
        return [model for model in served if not _is_variant(model)]

    @property
    def cards(self) -> Sequence[pb.Model]:
        """Everything that requests can name now, adapters and aliases included, in order of name."""
        return [self._models[name].card for name in sorted(self._models) if self._models[name].away is None]

    @property
    def all_away(self) -> bool:
        """Whether there are models, and none of them can be called for the time being."""
        return bool(self._models) and all(model.away is not None for model in self._models.values())

    @property
    def loading(self) -> Sequence[str]:
        """Names that requests will be able to use, in order; again, where a model is away."""
        away = (name for name, model in self._models.items() if model.away is not None)
        return sorted({*({*self._expected, *self._loading} - self._models.keys()), *away})

    def expect(self, names: Iterable[str], aliases: Iterable[tuple[str, str]] = ()) -> None:
        """Say what is to come.

        Args:
            names: All that requests will be able to use soon.
            aliases: Further names, as (name, model or adapter). They come with their models, and come back
                with them.
        """
        self._aliases = dict(aliases)
        self._expected = frozenset([*names, *self._aliases])

    def came(self) -> None:
        """All that was expected has come."""
        self._expected = frozenset()

    def find(self, name: str) -> ServedModel:
        """The model of that name. Raises MODEL_NOT_FOUND; NO_WORKER while it is loading."""
        if name in self._models:
            return self._models[name]
        if name in self.loading:
            raise not_now(f"The model '{name}' is still being loaded.")
        raise model_not_found(name, self._models)

    def base(self, name: str) -> ServedModel:
        """As :meth:`find`, but an alias stands for its model, and an adapter is INVALID_ARGUMENT."""
        served = self.find(name)
        if served.card.alias_of:
            served = self._models[served.card.alias_of]
        if served.card.parent:
            raise invalid("model", f"'{name}' is an adapter of the model '{served.card.parent}'.")
        return served

    def require(self, name: str, served: ServedModel) -> None:
        """Raise MODEL_NOT_FOUND for ``name`` where ``served`` is not held any more."""
        if self._models.get(served.card.id) is not served:
            raise model_not_found(name, self._models)

    @contextmanager
    def taking(self, name: str, param: str, base: ServedModel | None = None) -> Iterator[None]:
        """Keep a name from others while it is loaded. Raises ALREADY_EXISTS, which blames ``param``."""
        if name in self._models or name in self._loading:
            raise InferloomError(Reason.ALREADY_EXISTS, f"There is a model '{name}' already.", param=param)
        self._loading[name] = None if base is None else base.card.id
        if name not in self._expected:
            self._on_change()
        try:
            yield
        finally:
            del self._loading[name]

    def add(self, served: ServedModel) -> None:
        """Hold what was loaded under its name, and under the aliases that it was to have."""
        self._models[served.card.id] = served
        for alias, of in self._aliases.items():
            if of == served.card.id and alias not in self._models:
                card = pb.Model()
                card.CopyFrom(served.card)
                card.id, card.alias_of = alias, of
                self._models[alias] = served.variant(card)

    def remove(self, served: ServedModel) -> Sequence[ServedModel]:
        """Let go of a model and of what goes with it; return all of that."""
        return [self._models.pop(name) for name in _family(served.card.id, self._models.values())]

    def clear(self) -> Sequence[ServedModel]:
        """Let go of everything, and return it."""
        served, self._models = list(self._models.values()), {}
        return served

    def adapters(self, served: ServedModel) -> int:
        """How many adapters a model has, those that are being loaded included."""
        return len(served.card.adapters) + sum(base == served.card.id for base in self._loading.values())

    def list_adapters(self, served: ServedModel, names: Iterable[str]) -> None:
        """Name a model's adapters in its card, and in those of its aliases."""
        listed = sorted(names)
        for each in self._models.values():
            if each is served or each.card.alias_of == served.card.id:
                each.card.adapters[:] = listed

    def refresh_cards(self) -> None:
        """Note in the cards how long steps take by now, where that is another story than they tell."""
        for served in self._models.values():
            card, measured = served.card, served.longest_step_s
            told = seconds(card.longest_step)
            if measured and (not told or worth_telling(told, measured)):
                card.longest_step.CopyFrom(duration(measured))


def _is_variant(served: ServedModel) -> bool:
    return bool(served.card.parent or served.card.alias_of)


def _family(name: str, models: Iterable[ServedModel]) -> list[str]:
    """A model's name, and those of all that go with it: its adapters, and the aliases of each."""
    cards = [model.card for model in models]
    adapters = [card.id for card in cards if card.parent == name and not card.alias_of]
    owners = {name, *adapters}
    return [name, *adapters, *(card.id for card in cards if card.alias_of in owners)]
