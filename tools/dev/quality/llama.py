"""llama.cpp's distributions, from the file that llama-perplexity leaves."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from quality.distance import Logs
from quality.windows import COUNT, PROSE, SCORED, WINDOW

_MAGIC = b"_logits_"


def logs(programs: Path, file: Path, windows: list[list[int]]) -> Iterator[Logs]:
    """The distributions of each window of the prose, [SCORED, vocabulary].

    Args:
        programs: Folder with llama.cpp's programs.
        file: The model, a GGUF file.
        windows: The windows that it is expected to read.

    Raises:
        ValueError: It reads the text as other tokens, or its file has another form.
        RuntimeError: It failed; the message has its last words.
    """
    with TemporaryDirectory() as folder:
        base = Path(folder) / "logits"
        command = [str(programs / "llama-perplexity"), "-m", str(file), "-f", str(PROSE), "--threads", "2"]
        command += ["--ctx-size", str(WINDOW), "--batch-size", str(WINDOW), "--chunks", str(COUNT)]
        command += ["--save-all-logits", str(base)]
        environment = os.environ | {"LD_LIBRARY_PATH": str(programs)}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="replace", check=False
        )
        if done.returncode or not base.exists():
            raise RuntimeError(f"llama-perplexity failed: {done.stderr.strip().splitlines()[-1:]}")
        yield from read(base, windows)


def read(base: Path, windows: list[list[int]]) -> Iterator[Logs]:
    """The distributions in a file of logits.

    The layout is the program's own (``llama-perplexity``, ``process_logits``): the magic; context, vocabulary
    and windows as int32; the tokens; then for each place a float32 step, the float32 least log-probability,
    and the vocabulary in uint16 steps above it, padded to an even number.
    """
    with base.open("rb") as opened:
        if opened.read(len(_MAGIC)) != _MAGIC:
            raise ValueError("llama-perplexity's file has another form")
        context, vocabulary, count = np.fromfile(opened, np.int32, 3).tolist()
        tokens = np.fromfile(opened, np.int32, context * count).reshape(count, context)
        if tokens.tolist() != windows:
            raise ValueError("llama.cpp reads the text as other tokens")
        width = 4 + vocabulary + vocabulary % 2
        for _ in range(count):
            rows = np.fromfile(opened, np.uint16, SCORED * width).reshape(SCORED, width)
            step, least = np.ascontiguousarray(rows[:, :4]).view(np.float32).T[..., None]
            yield rows[:, 4 : 4 + vocabulary] * step + least
