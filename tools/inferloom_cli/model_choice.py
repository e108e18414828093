"""Which of the served models is meant."""

from collections.abc import Sequence

from inferloom.v1.inference_pb2 import Model, Task
from inferloom_cli import words
from inferloom_cli.refusal import RefusedError
from inferloom_mesh.suggestion import nearest

_LISTED = 20


def choose(models: Sequence[Model], task: Task.ValueType, wanted: str | None = None) -> Model:
    """The model called ``wanted``, or the one that is most clearly made for ``task``. Pure.

    Of those that can do it that is the one that does the fewest others, since models that generate give
    vectors too; the first of equals.

    Raises:
        RefusedError: There is none; the message names those there are.
    """
    able = [model for model in models if task in model.tasks]
    if wanted is None:
        if not able:
            raise RefusedError(f"no model for {words.task(task)} is served – see `inferloom models`")
        return min(able, key=lambda model: len(model.tasks))
    for model in models:
        if model.id == wanted:
            if model not in able:
                raise RefusedError(f"{wanted} is not a model for {words.task(task)}{_others(able)}")
            return model
    raise RefusedError(f"no model called {wanted[:200]} is served{_near(wanted, able)}{_others(able)}")


def _near(wanted: str, able: Sequence[Model]) -> str:
    """The name that was meant, whatever its case and whichever part of it was left out."""
    names = {model.id.lower(): model.id for model in able}
    low = wanted.lower().removesuffix(":latest")
    near = next((name for name in names if low and (low in name or name in low)), None)
    meant = names[near] if near else nearest(low, names.values())
    return f"; did you mean {meant}?" if meant else ""


def _others(able: Sequence[Model]) -> str:
    listed = ", ".join(model.id for model in able[:_LISTED])
    more = f" and {len(able) - _LISTED} more" if len(able) > _LISTED else ""
    return f" (served: {listed}{more})" if able else ""
