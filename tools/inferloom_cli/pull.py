"""``inferloom pull``: models on this machine before they are served."""

from collections.abc import Sequence
from pathlib import Path

from inferloom_cli.fetching import fetching
from inferloom_cli.refusal import RefusedError, needs


def pull(specs: Sequence[str]) -> None:
    """Fetch each model and print where it is.

    Raises:
        RefusedError: One cannot be fetched.
    """
    for spec in specs:
        print(f"{spec}: {fetch(spec)}")


def fetch(spec: str, cache_dir: Path | None = None) -> str:
    """Make sure that a model is on this machine; say what happens on standard error.

    Returns:
        Where it is, for people: its path, or the spec itself where it needs no files.

    Raises:
        RefusedError: It cannot be fetched.
    """
    with needs("worker"):
        from inferloom_worker.hosting.finding import find_model
        from inferloom_worker.sourcing.sources import SourceError
    try:
        with fetching(spec) as (words, amounts):
            source = find_model(spec, cache_dir, words, amounts)
    except SourceError as failure:
        raise RefusedError(str(failure)) from failure
    return str(source.path or spec)


def fetch_adapter(spec: str) -> None:
    """Make sure that an adapter is on this machine, as :func:`fetch` does of models.

    Raises:
        RefusedError: It cannot be fetched.
    """
    with needs("worker"):
        from inferloom_worker.sourcing.sources import SourceError, resolve_adapter
    try:
        with fetching(spec) as (words, amounts):
            resolve_adapter(spec, words, amounts)
    except SourceError as failure:
        raise RefusedError(str(failure)) from failure
