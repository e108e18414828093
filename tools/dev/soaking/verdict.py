"""Whether a mesh holds more after a load than before it. Pure."""

from collections.abc import Callable, Iterator

from rich.table import Table

from soaking.sample import Sample

GROWTH_SHARE = 0.05
GROWTH_MIB = 32.0
"""Memory may grow by the larger of these, for what allocators keep and caches fill."""

SPARE_DESCRIPTORS = 4
SPARE_THREADS = 2


def leaks(before: Sample, after: Sample) -> Iterator[str]:
    """What has not returned to where it was, a line for each."""
    for name, was in before.processes.items():
        now = after.processes.get(name)
        if now is None:
            yield f"{name} has ended"
            continue
        if now.mib > was.mib + max(GROWTH_MIB, GROWTH_SHARE * was.mib):
            yield f"{name}: memory grew from {was.mib:.0f} to {now.mib:.0f} MiB"
        if now.descriptors > was.descriptors + SPARE_DESCRIPTORS:
            yield f"{name}: open files grew from {was.descriptors} to {now.descriptors}"
        if now.threads > was.threads + SPARE_THREADS:
            yield f"{name}: threads grew from {was.threads} to {now.threads}"
    if after.slots_in_use:
        yield f"{after.slots_in_use} slots are in use, though nothing runs"
    if after.waiting:
        yield f"{after.waiting} requests wait, though nothing runs"
    if after.free_kv_tokens < before.free_kv_tokens:
        yield f"free KV tokens fell from {before.free_kv_tokens:,} to {after.free_kv_tokens:,}"


def table(before: Sample, most: Sample, after: Sample) -> Table:
    """Before the load, at most under it, and after it."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    made.add_column("")
    for column in ("BASELINE", "AT MOST", "AFTER"):
        made.add_column(column, justify="right")
    for name in before.processes:
        all_of = [sample.processes.get(name) for sample in (before, most, after)]
        made.add_row(f"{name}: MiB", *(f"{one.mib:,.0f}" if one else "–" for one in all_of))
        made.add_row("  open files", *(str(one.descriptors) if one else "–" for one in all_of))
        made.add_row("  threads", *(str(one.threads) if one else "–" for one in all_of))
    rows: tuple[tuple[str, Callable[[Sample], int]], ...] = (
        ("slots in use", lambda sample: sample.slots_in_use),
        ("waiting", lambda sample: sample.waiting),
        ("KV tokens in use", lambda sample: sample.total_kv_tokens - sample.free_kv_tokens),
    )
    for label, pick in rows:
        made.add_row(label, *(f"{pick(sample):,}" for sample in (before, most, after)))
    return made


def worst(one: Sample, other: Sample) -> Sample:
    """The most of everything of two samples, and the least that was free."""
    processes = dict(one.processes)
    for name, held in other.processes.items():
        was = processes.get(name, held)
        processes[name] = type(held)(
            max(was.mib, held.mib),
            max(was.descriptors, held.descriptors),
            max(was.threads, held.threads),
        )
    return Sample(
        processes,
        max(one.slots_in_use, other.slots_in_use),
        max(one.waiting, other.waiting),
        min(one.free_kv_tokens, other.free_kv_tokens),
        max(one.total_kv_tokens, other.total_kv_tokens),
    )
