"""What is to be done next for each batch, and who does it. Synchronous, for a transaction.

A batch is validated, run in chunks of lines (``batch_chunks``), finished and cleared up; each of these steps
is claimed by one runner at a time.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from inferloom_gateway.storage import batch_chunks


class Step(StrEnum):
    """What a batch needs next."""

    VALIDATE = "validate"
    RUN = "run"
    FINISH = "finish"
    CLEAN = "clean"


@dataclass(frozen=True, slots=True)
class Work:
    """A step of a batch that a runner has claimed."""

    batch: str
    tenant: str
    step: Step
    outcome: str
    """The status that the batch ends with."""


@dataclass(frozen=True, slots=True)
class Pending:
    """What is to be done."""

    any: bool
    """Whether there is a batch that is not over."""
    steps: bool
    """Whether there is a step that nobody does."""
    lines: bool
    """Whether there are lines that nobody runs."""
    running: frozenset[str]
    """The batches whose lines are run."""


def pending(at: sqlite3.Connection) -> Pending:
    """All that is to be done."""
    work = at.execute("SELECT batch, step, owner FROM batch_work").fetchall()
    running = frozenset(batch for batch, step, _ in work if step == Step.RUN)
    steps = any(step != Step.RUN and owner is None for _, step, owner in work)
    return Pending(bool(work), steps, any(batch_chunks.free(at, batch) for batch in running), running)


def add(at: sqlite3.Connection, tenant: str, batch: str, expires: float) -> None:
    """Have a batch validated, and ended when its time is over."""
    at.execute(
        "INSERT INTO batch_work VALUES (?, ?, ?, 'completed', ?, NULL)",
        (batch, tenant, Step.VALIDATE, expires),
    )


def claim(at: sqlite3.Connection, runner: str, held: Sequence[str] = ()) -> Work | None:
    """A step that nobody does yet, other than running lines, of a batch that is not among those ``held``:
    what makes room first, and any of the others: none of them is to hold up the rest. None also for a runner
    that is thought to be dead: nobody would free what it claims."""
    found = at.execute(
        "UPDATE batch_work SET owner = :runner WHERE batch = (SELECT batch FROM batch_work"
        " WHERE owner IS NULL AND step <> 'run' AND EXISTS (SELECT 1 FROM runners WHERE id = :runner)"
        " AND batch NOT IN (SELECT value FROM json_each(:held))"
        " ORDER BY step <> 'clean', random() LIMIT 1) RETURNING batch, tenant, step, outcome",
        {"runner": runner, "held": json.dumps(list(held))},
    ).fetchone()
    return None if found is None else Work(found[0], found[1], Step(found[2]), found[3])


def give_back(at: sqlite3.Connection, runner: str, batch: str) -> None:
    """Let somebody else do a step, or oneself later."""
    at.execute("UPDATE batch_work SET owner = NULL WHERE batch = ? AND owner = ?", (batch, runner))


def runs_for(at: sqlite3.Connection, batch: str) -> str | None:
    """Whose batch it is, while its lines are run. None: they are not."""
    found = at.execute("SELECT tenant FROM batch_work WHERE batch = ? AND step = 'run'", (batch,)).fetchone()
    return None if found is None else str(found[0])


def expired(at: sqlite3.Connection, now: float) -> list[tuple[str, str]]:
    """The batches that are not being finished and whose time is over, each behind its tenant."""
    return at.execute(
        "SELECT tenant, batch FROM batch_work WHERE step IN ('validate', 'run') AND expires <= ?", (now,)
    ).fetchall()


def move(at: sqlite3.Connection, runner: str, work: Work, step: Step) -> bool:
    """Come to the next step; False: the runner has not the one before any more."""
    moved = at.execute(
        "UPDATE batch_work SET step = ?, owner = NULL WHERE batch = ? AND step = ? AND owner = ?",
        (step, work.batch, work.step, runner),
    )
    return moved.rowcount == 1


def finish(at: sqlite3.Connection, batch: str, outcome: str) -> None:
    """Have a batch finished, whatever is done for it now; it is to end with the status ``outcome``."""
    at.execute(
        "UPDATE batch_work SET step = ?, outcome = ?, owner = NULL WHERE batch = ?",
        (Step.FINISH, outcome, batch),
    )


def remove(at: sqlite3.Connection, batch: str) -> None:
    """Have nothing more done."""
    at.execute("DELETE FROM batch_work WHERE batch = ?", (batch,))
