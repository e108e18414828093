"""Load mutated model files, and compute a token with those that load.

Usage: python tools/dev/fuzz_files.py [--count N] [--seed S] [--first N]

Tiny random models are written as GGUF files, safetensors folders, encoders and LoRA adapters; each case
changes one of them in a few places: counts, shapes, offsets, types, names, settings, bytes. A case must
be refused with words of our own, or load and compute finite numbers. Cases depend on nothing but the
seed and their number, so that ``--first N --count 1`` repeats one. If the process dies, the file
``case`` in the folder that it named at its start has the number.
"""

import argparse
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))  # the tests' writer of GGUF files

from fuzzing.cases import KINDS, Bases  # after the path
from fuzzing.load import Refused, compute


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    args = parser.parse_args()
    torch.set_num_threads(1)
    outcomes: Counter[str] = Counter()
    broken = 0
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    print(f"{args.count} cases of seed {args.seed} in {folder}", flush=True)
    bases = Bases(folder)
    names, shares = list(KINDS), list(KINDS.values())
    for number in range(args.first, args.first + args.count):
        (folder / "case").write_text(f"{args.seed} {number}\n")
        rng = np.random.default_rng((args.seed, number))
        kind = str(rng.choice(names, p=shares))
        path = bases.mutate(kind, rng)
        try:
            compute(kind, path, bases)
        except Refused:
            outcomes[f"{kind}: refused"] += 1
        except Exception:
            broken += 1
            print(f"case {number} ({kind}) failed otherwise than in words:", file=sys.stderr)
            traceback.print_exc(limit=-4)
        else:
            outcomes[f"{kind}: computed"] += 1
        if (number + 1 - args.first) % 500 == 0:
            print(number + 1 - args.first, dict(outcomes), f"broken: {broken}", flush=True)
    computed = sum(count for name, count in outcomes.items() if name.endswith("computed"))
    print(
        f"{args.count} files: {computed} computed, {args.count - computed - broken} refused, {broken} broken"
    )
    print(dict(sorted(outcomes.items())))
    if broken:
        sys.exit(1)


if __name__ == "__main__":
    main()
