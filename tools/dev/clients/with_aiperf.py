"""aiperf, which measures servers."""

import subprocess
import sys
import tempfile
from pathlib import Path

from jobs import MODEL, TOKENIZER, URL, job, run


def _profiled(*more: str) -> None:
    folder = tempfile.mkdtemp()
    command = [str(Path(sys.executable).with_name("aiperf")), "profile", "--model", MODEL]
    command += ["--url", URL.removesuffix("/v1"), "--tokenizer", TOKENIZER, "--request-count", "4"]
    command += ["--concurrency", "2", "--output-artifact-dir", folder, "--ui-type", "none", *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, (done.stdout + done.stderr)[-800:]
    assert list(Path(folder).rglob("*.json")), done.stdout[-800:]


@job
def chat_stream() -> None:
    tokens = ("--synthetic-input-tokens-mean", "32", "--output-tokens-mean", "8")
    _profiled("--endpoint-type", "chat", "--streaming", *tokens)


@job
def embeddings() -> None:
    _profiled("--endpoint-type", "embeddings", "--synthetic-input-tokens-mean", "16")


run()
