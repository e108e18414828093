"""Measure what each format and kernel makes of a model's next-token distributions, beside llama.cpp.

Usage: python tools/dev/bench_quality.py [--peers-dir DIR] [--only NAME…] [--answers] [--json FILE]

The reference of each row is the float32 model that the same file expands to, computed by transformers, over
four windows of a fixed text, the second half of each. Both sides are compared in the precision of
llama-perplexity's file. Without llama.cpp (see bench_peers) it says so and shows Inferloom's side alone,
of the formats that need no tool of llama.cpp's.

--answers prints greedy answers to 20 questions side by side instead: Inferloom's, transformers' in float32,
and llama-server's, on the same Q4_1 file. They are to be read.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import cache
from pathlib import Path

from peers.own import inferloom
from peers.process import end_well
from peers.sides import Place, Wants, llama_server
from peers.weights import weights
from platformdirs import user_cache_path
from quality import llama
from quality.answers import QUESTIONS, TOKENS, ask, same_words
from quality.cases import CASES, Case
from quality.distance import Distance, Logs
from quality.own import Own
from quality.reference import Reference
from quality.windows import PROSE, windows
from rich.console import Console
from rich.table import Table

NEEDS_NO_TOOL = {"q4_1", "bf16"}

Row = tuple[Case, str, Distance, Distance | None]
"""A case, what Inferloom computed it with, its distance, and llama.cpp's."""


class Bench:
    """The models, made as they are needed."""

    def __init__(self, cache_folder: Path, programs: Path | None) -> None:
        self._cache, self._programs = cache_folder, programs
        self._expected = cache(self._compute_expected)

    def can(self, case: Case) -> bool:
        """Whether the case's weights can be had here."""
        return self._programs is not None or {case.weights, case.reference} <= NEEDS_NO_TOOL

    def measure(self, case: Case) -> Row:
        """Compare both sides with the case's reference."""
        parts, expected = self._expected(case.reference)
        own = Own(self._weights(case.weights), case.options)
        mine = Distance.of(zip(expected, own.logs(parts), strict=True))
        theirs = None
        if self._programs is not None and case.llama is not None:
            logs = llama.logs(self._programs, self._weights(case.llama), parts)
            theirs = Distance.of(zip(expected, logs, strict=True))
        return case, own.computes, mine, theirs

    def _weights(self, name: str) -> Path:
        return weights(name, self._cache, self._programs)

    def _compute_expected(self, name: str) -> tuple[list[list[int]], list[Logs]]:
        reference = Reference(self._weights(name))
        parts = windows(reference.tokens(PROSE.read_text()))
        return parts, list(reference.logs(parts))


def table(rows: Sequence[Row]) -> Table:
    """A row for each case: Inferloom's distance and llama.cpp's."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    made.add_column("")
    made.add_column("COMPUTED IN")
    for column in ("KL, nats", "llama.cpp", "ratio", "WORST Δ log p", "llama.cpp", "SAME TOP-1", "llama.cpp"):
        made.add_column(column, justify="right")
    for case, computes, mine, theirs in rows:
        made.add_row(
            case.name,
            computes,
            f"{mine.kl:.6f}",
            f"{theirs.kl:.6f}" if theirs else "–",
            f"{mine.kl / theirs.kl:.2f} ×" if theirs else "–",
            f"{mine.worst:.3f}",
            f"{theirs.worst:.3f}" if theirs else "–",
            f"{mine.agreement:.2%}",
            f"{theirs.agreement:.2%}" if theirs else "–",
        )
    return made


def answers(place: Place, programs: Path | None, console: Console) -> None:
    """Print the answers of all sides."""
    reference = Reference(weights("q4_1", place.cache))
    sides = {"inferloom": inferloom("q4_1")}
    if programs is not None:
        sides["llama-server"] = llama_server("q4_1")
    with ExitStack() as stack:
        running = {name: stack.enter_context(side(place, Wants())) for name, side in sides.items()}
        for number, question in enumerate(QUESTIONS, 1):
            expected = reference.answer(question, TOKENS)
            console.rule(f"{number}. {question}", align="left")
            console.print(f"[bold]transformers, float32[/]\n{expected}\n")
            for name, server in running.items():
                text = ask(server.url, server.model, question)
                same = "the same" if text == expected else f"the same for {same_words(text, expected)} words"
                console.print(f"[bold]{name}[/] ({same})\n{text}\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage=argparse.SUPPRESS
    )
    parser.add_argument("--peers-dir", type=Path, default=user_cache_path("inferloom") / "peers")
    parser.add_argument("--cache", type=Path, default=user_cache_path("inferloom") / "peer-models")
    parser.add_argument("--only", nargs="+", choices=[case.name for case in CASES], metavar="NAME")
    parser.add_argument("--answers", action="store_true")
    parser.add_argument("--json", type=Path, help="also write the numbers to a file")
    args = parser.parse_args()
    end_well()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    with tempfile.TemporaryDirectory() as logs:
        place = Place(args.peers_dir.absolute(), args.cache.absolute(), Path(logs))
        try:
            programs = place.llama
        except FileNotFoundError as missing:
            console.print(f"{missing}: Inferloom's side alone")
            programs = None
        if args.answers:
            answers(place, programs, console)
            return
    bench = Bench(place.cache, programs)
    chosen = [case for case in CASES if args.only is None or case.name in args.only]
    rows = []
    for case in filter(bench.can, chosen):
        print(case.name, file=sys.stderr, flush=True)
        rows.append(bench.measure(case))
    if rows:
        console.print(f"{rows[0][2].places:,} places of {PROSE.name}, against float32")
        console.print(table(rows))
    if args.json is not None:
        values = [
            {"case": case.name, "computed in": computes, "inferloom": asdict(mine)}
            | ({"llama.cpp": asdict(theirs)} if theirs else {})
            for case, computes, mine, theirs in rows
        ]
        args.json.write_text(json.dumps(values, indent=2) + "\n")


if __name__ == "__main__":
    main()
