"""aiperf, which measures servers."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from jobs import MODEL, TOKENIZER, URL, job, run

NAME, REVISION = "demo/tokenizer", "0" * 40


def _cached(folder: Path) -> None:
    """Put the tokenizer where a hub's files are: without a network, aiperf takes it from nowhere else."""
    kept = folder / f"models--{NAME.replace('/', '--')}"
    shutil.copytree(TOKENIZER, kept / "snapshots" / REVISION)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(REVISION)


def _profiled(*more: str) -> None:
    folder = tempfile.mkdtemp()
    _cached(Path(folder) / "hub")
    command = [str(Path(sys.executable).with_name("aiperf")), "profile", "--model", MODEL]
    command += ["--url", URL.removesuffix("/v1"), "--tokenizer", NAME, "--request-count", "4"]
    command += ["--concurrency", "2", "--output-artifact-dir", folder, "--ui-type", "none", *more]
    env = {**os.environ, "HF_HUB_CACHE": str(Path(folder) / "hub")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=env)
    assert done.returncode == 0, (done.stdout + done.stderr)[-800:]
    (report,) = Path(folder).rglob("profile_export_aiperf.json")
    assert json.loads(report.read_text())["request_count"]["avg"] == 4, report.read_text()[:800]


@job
def chat_stream() -> None:
    tokens = ("--synthetic-input-tokens-mean", "32", "--output-tokens-mean", "8")
    _profiled("--endpoint-type", "chat", "--streaming", *tokens)


@job
def embeddings() -> None:
    _profiled("--endpoint-type", "embeddings", "--synthetic-input-tokens-mean", "16")


run()
