"""Compare model types with transformers and sentence-transformers, as tiny random models in float32.

Usage: .venv/bin/python tools/dev/sweep_models.py [TYPE | TYPE+decoder | encoder:TYPE …]

Without arguments: every type that transformers generates text with, and kinds of encoders. Each is equal, or
refused in words; one that is different, fails or is taken for an encoder is a fault, and makes the exit
status 1. Every type has a process and 120 s.
"""

import multiprocessing
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

LIMIT_S = 120
FAULTS = ("different", "encoder", "failed")


def main(types: list[str]) -> int:
    """Print a line for each type, and the counts."""
    import torch
    from sweep.causal import ANSWERED, Outcome
    from sweep.encoders import KINDS
    from sweep.tiny import DECODERS
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)  # threads that run before a fork do not live in the child
    counts: Counter[str] = Counter()
    context = multiprocessing.get_context("fork")
    every = [*sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES), *(f"{name}+decoder" for name in DECODERS)]
    every += [f"encoder:{name}" for name in KINDS]
    for name in types or every:
        found: Any = context.Queue()
        with tempfile.TemporaryDirectory() as folder:
            child = context.Process(target=_compare, args=(name, folder, found))
            child.start()
            try:
                outcome = found.get(timeout=LIMIT_S)
            except Exception:  # queue.Empty: it takes too long, or its process died
                verdict = "failed" if (Path(folder) / ANSWERED).exists() else "no model"
                outcome = Outcome(verdict, "no result in time")
            child.kill()
            child.join()
        counts[outcome.verdict] += 1
        print(f"{name:32} {outcome.verdict:10} {outcome.reason}", flush=True)
    print(", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())))
    return int(any(counts[fault] for fault in FAULTS))


def _compare(name: str, folder: str, found: Any) -> None:
    from sweep.causal import compare
    from sweep.encoders import compare_encoder

    if name.startswith("encoder:"):
        found.put(compare_encoder(name.removeprefix("encoder:"), Path(folder)))
        return
    model_type, _, decoder = name.partition("+")
    found.put(compare(model_type, Path(folder), **({"is_decoder": True} if decoder else {})))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
