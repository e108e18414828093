"""Which workers a command is meant for. Pure."""

from collections.abc import Iterable, Sequence

from inferloom.v1.registry_pb2 import Worker
from inferloom_cli.refusal import RefusedError
from inferloom_mesh.suggestion import nearest


def named(workers: Iterable[Worker], names: Sequence[str]) -> list[Worker]:
    """The workers of these names, in the order of the names; all of them where there are none.

    Raises:
        RefusedError: There is no worker at all, or none of a name.
    """
    known = {worker.id: worker for worker in workers}
    if not known:
        raise RefusedError("there are no workers – start one with `inferloom worker`")
    for name in names:
        if name not in known:
            near = nearest(name, known)
            meant = f"; did you mean {near}?" if near else ""
            raise RefusedError(f"no worker is called {name}{meant} (there are: {', '.join(known)})")
    return [known[name] for name in names] if names else list(known.values())


def holding(workers: Iterable[Worker], model: str, names: Sequence[str]) -> list[Worker]:
    """The workers that hold a model, or those of them that are named.

    Raises:
        RefusedError: No worker holds it, or one that is named does not.
    """
    listed = list(workers)
    able = [worker for worker in listed if any(card.id == model for card in worker.models)]
    if not able:
        near = nearest(model, {card.id for worker in listed for card in worker.models})
        raise RefusedError(f"no worker holds {model}" + (f"; did you mean {near}?" if near else ""))
    for worker in named(listed, names) if names else ():
        if worker not in able:
            raise RefusedError(
                f"{worker.id} does not hold {model}; on: {', '.join(each.id for each in able)}"
            )
    return [worker for worker in able if not names or worker.id in names]
