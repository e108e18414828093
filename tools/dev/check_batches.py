"""Is every line of a batch answered exactly once, whoever dies?

Two gateways that share a store answer a batch before one worker that repeats its prompt. At random moments a
random one of them is killed (SIGKILL), and started again a second later. At the end each line must be in the
output file or the error file once, with its own answer; what the worker was asked more often than there are
lines was computed twice.

Usage: python tools/dev/check_batches.py [--lines N] [--kills N] [--seed N]
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from batches.pair import GATEWAYS, MODEL, Pair

MOST_TWICE = 0.01
DOWN_S = 1.0

_PATH = "/v1/chat/completions"


@dataclass(frozen=True)
class Report:
    """What came of a batch."""

    lines: int
    status: str
    killed: list[str]
    answered: int
    """Lines in the output file."""
    failed: int
    """Lines in the error file."""
    missing: int
    repeated: int
    """Lines that are in the files more than once."""
    wrong: int
    """Answers that belong to another line."""
    computed_twice: int
    seconds: float

    @property
    def good(self) -> bool:
        """Whether it is as it must be."""
        whole = self.status == "completed" and self.answered == self.lines
        exact = not (self.failed or self.missing or self.repeated or self.wrong)
        return whole and exact and self.computed_twice <= MOST_TWICE * self.lines


async def check(
    folder: Path, lines: int, kills: int, seed: int, *, delay_ms: int = 2, lease_s: float = 10.0
) -> Report:
    """Run a batch of so many lines, and kill so many times."""
    chance = random.Random(seed)
    moments = sorted(chance.uniform(0.1, 0.9) for _ in range(kills))
    killed: list[str] = []
    async with Pair(folder, delay_ms=delay_ms, lease_s=lease_s) as pair:
        began = time.monotonic()
        batch = await _submit(pair, lines)
        while batch["status"] not in ("completed", "failed", "expired", "cancelled"):
            await asyncio.sleep(0.05)
            batch = (await pair.ask("GET", f"/v1/batches/{batch['id']}")).json()
            done = batch["request_counts"]["completed"] / lines
            if len(killed) < kills and done >= moments[len(killed)]:
                killed.append(chance.choice(GATEWAYS))
                part = pair.parts[killed[-1]]
                await part.killed()
                await asyncio.sleep(DOWN_S)
                part.start()
        seconds = time.monotonic() - began
        output, errors = await _read(pair, batch, "output"), await _read(pair, batch, "error")
        computed = await pair.computed()
    names = Counter(each["custom_id"] for each in output + errors)
    return Report(
        lines=lines,
        status=batch["status"],
        killed=killed,
        answered=len(output),
        failed=len(errors),
        missing=lines - len(names),
        repeated=sum(1 for count in names.values() if count > 1),
        wrong=sum(1 for each in output if each["custom_id"] not in _text(each).split()),
        computed_twice=computed - lines,
        seconds=round(seconds, 1),
    )


def _line(number: int) -> str:
    body = {"model": MODEL, "messages": [{"role": "user", "content": f"line-{number} says hello"}]}
    return json.dumps({"custom_id": f"line-{number}", "method": "POST", "url": _PATH, "body": body})


def _text(answer: Any) -> str:
    text: str = answer["response"]["body"]["choices"][0]["message"]["content"]
    return text


async def _submit(pair: Pair, lines: int) -> Any:
    data = "\n".join(map(_line, range(lines))).encode()
    form, files = {"purpose": "batch"}, {"file": ("input.jsonl", data)}
    file = (await pair.ask("POST", "/v1/files", data=form, files=files)).json()
    asked = {"input_file_id": file["id"], "endpoint": _PATH, "completion_window": "24h"}
    return (await pair.ask("POST", "/v1/batches", json=asked)).json()


async def _read(pair: Pair, batch: Any, kind: str) -> list[Any]:
    name = batch.get(f"{kind}_file_id")
    if name is None:
        return []
    text = (await pair.ask("GET", f"/v1/files/{name}/content")).text
    return [json.loads(each) for each in text.splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--lines", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--seed", type=int, default=None, help="[default: the time]")
    given = parser.parse_args()
    seed = time.time_ns() if given.seed is None else given.seed
    with tempfile.TemporaryDirectory(prefix="batches-") as folder:
        report = asyncio.run(check(Path(folder), given.lines, given.kills, seed))
    print(json.dumps({"seed": seed, **asdict(report)}, indent=1))
    print("met" if report.good else "MISSED")
    sys.exit(0 if report.good else 1)


if __name__ == "__main__":
    main()
