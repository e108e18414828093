"""Telling the end of workers from the end of the way to them.

When more than half of a model's workers fall silent together, the likelier cause is the network or the
registry itself, and removing them all would turn a disturbance into an outage. So they are kept, SUSPECT,
and callers judge them by their own calls.

- A model counts if at least two workers hold it: the silence of a single worker proves nothing about
  others, and it must be able to leave.
- Silent means past the TTL. Removal comes half a TTL later, which is longer than the renewal interval,
  so by the time the first of them is due, all that fell silent together are counted.
- A freeze ends when no more than half are silent: because workers renewed, came back under a new epoch,
  or were joined by others. Those still silent then get another half TTL to come back.
- It ends anyway for a worker that has been silent for ``HOLD_TTLS`` TTLs. Nobody waits that long for a
  worker, and a set that was switched off all at once must not be listed for ever.
"""

from collections import Counter
from collections.abc import Collection, Iterable

HOLD_TTLS = 10.0
"""How long a freeze can keep a silent worker, in TTLs since its last renewal."""


def silenced_models(
    all_models: Iterable[Collection[str]], silent_models: Iterable[Collection[str]]
) -> set[str]:
    """The models that more than half of their workers, at least two in all, have fallen silent with.

    Args:
        all_models: The models of each worker.
        silent_models: The models of each worker that is past its TTL.
    """
    held = Counter(model for models in all_models for model in models)
    silent = Counter(model for models in silent_models for model in models)
    return {model for model, count in silent.items() if held[model] >= 2 and count * 2 > held[model]}
