"""Measure what gateway processes do and spend, with one of them and with two, under a client written in C.

Usage: python tools/dev/bench_gateway.py [--processes 1 2] [--rounds 3] [--streams 32] [--tokens 128]
       [--keys off]

A mesh of its own, with a worker that says one token an event (``echo:chunk=1``), keys, log and metrics, is
started for each number of gateway processes in each round. ``linkload/client.c`` is compiled, and asks on
connections that are kept and on new ones: for streams, for requests of one token, and, one after another,
for the wait until the second token: an echo's first, which begins its prompt, has no text. Processor time
is that of all processes of a kind, by the kernel's accounting. A token's time has its part of the request's
in it; it is told without that as well, and beside it what the system takes for a write of one event and
nothing else (``linkload/writes.c``): one event a write cannot be had for less. The slope is what a number of
gateway processes does, over what the first number does: where client, gateways and worker share few cores,
it ends with those.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from peers.linkload import Said, ask, bare_write
from peers.own import create_key, keys_file, mesh

MODEL = "echo"
EVENT = 270
"""Bytes of an event of a chat completion, as it goes out."""

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked, and where."""

    address: str
    key: str

    def run(self, clients: int, requests: int, tokens: int, *, kept: bool) -> Said:
        """Make requests; return what the client says of them."""
        message = {"role": "user", "content": "Tell me something of the number 17, and of those beside it."}
        body = {"model": MODEL, "messages": [message], "max_tokens": tokens, "ignore_eos": True}
        return ask(self.address, body | {"stream": True}, clients, requests, kept=kept, key=self.key)


def descendants(pid: int) -> Iterator[tuple[int, str]]:
    """Processes that a process has started, and their own, each with its command line."""
    for each in Path("/proc").iterdir():
        with suppress(OSError, IndexError, ValueError):
            if int((each / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                yield int(each.name), (each / "cmdline").read_text().replace("\0", " ")
                yield from descendants(int(each.name))


def of_kind(mesh_pid: int, kind: str) -> list[int]:
    """The processes of a mesh that are, or were started by, its ``inferloom_cli KIND``."""
    found = []
    for pid, command in descendants(mesh_pid):
        if f" {kind} " in command:
            found += [pid, *(below for below, _ in descendants(pid))]
    return sorted(set(found))


def seconds(pids: list[int]) -> float:
    """Processor time that processes have used."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def measure(asked: Asked, mesh_pid: int, options: argparse.Namespace) -> Figures:
    """Put all loads on a mesh."""
    gateways, workers = of_kind(mesh_pid, "gateway"), of_kind(mesh_pid, "worker")
    found: Figures = {}
    streams = options.streams
    asked.run(streams, 4 * streams, 8, kept=True)  # what is made at the first requests
    for kept, kind in ((True, "kept"), (False, "new")):
        loads = (("token", 6 * streams, options.tokens), ("request", 50 * streams, 1))
        for what, requests, tokens in loads:
            before = seconds(gateways), seconds(workers)
            said = asked.run(streams, requests, tokens, kept=kept)
            after = seconds(gateways), seconds(workers)
            count = requests * tokens
            found |= {
                f"{kind} connections: {what}s a second": count / said.seconds,
                f"{kind} connections: gateway, us a {what}": (after[0] - before[0]) * 1e6 / count,
                f"{kind} connections: worker, us a {what}": (after[1] - before[1]) * 1e6 / count,
                f"{kind} connections: client, us a {what}": said.own_s * 1e6 / count,
            }
        one, all_of_it = (found[f"{kind} connections: gateway, us a {what}"] for what in ("request", "token"))
        share = (all_of_it * options.tokens - one) / (options.tokens - 1)
        found[f"{kind} connections: gateway, us a token beside its request"] = share
        alone = asked.run(1, 200, 2, kept=kept)  # the client waits for text, which the first token has not
        found[f"{kind} connections: second token at one client, p50 ms"] = alone.first_p50_ms
        found[f"{kind} connections: second token at one client, least ms"] = alone.first_least_ms
    found["a write of one event and nothing else, us"] = bare_write(streams, EVENT)
    return found


def one_round(processes: int, options: argparse.Namespace) -> Figures:
    """Start a mesh, measure, and end it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        flags = ["--model", f"{MODEL}=echo:chunk=1", "--gateway-processes", str(processes)]
        key = ""
        if options.keys == "on":
            key = create_key(folder)
            flags += ["--keys", str(keys_file(folder))]
        with mesh(folder / "mesh.log", *flags) as (report, _):
            return measure(Asked(report["rest"], key), report["pid"], options)


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--keys", choices=("on", "off"), default="on")
    options = parser.parse_args()
    rounds: dict[int, list[Figures]] = {count: [] for count in options.processes}
    for number in range(options.rounds):
        for count, found in rounds.items():
            print(f"round {number + 1}: gateway processes: {count}", file=sys.stderr, flush=True)
            found.append(one_round(count, options))
    show(rounds)


def show(rounds: dict[int, list[Figures]]) -> None:
    """Print medians with their spread, and the slope."""
    first = next(iter(rounds.values()))
    for name in first[0]:
        base = statistics.median(each[name] for each in first)
        for count, found in rounds.items():
            values = sorted(each[name] for each in found)
            middle = statistics.median(values)
            line = f"{name:58} x{count} {middle:10.2f}  ({values[0]:.2f} to {values[-1]:.2f})"
            if found is not first and name.endswith("a second"):
                line += f"  slope {middle / base:.2f}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
