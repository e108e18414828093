"""Do real clients get their main jobs done against a running mesh? Each in an environment of its own.

Usage: python tools/dev/check_clients.py URL [--model NAME] [--folder FOLDER] [--only NAME ...]

URL is where OpenAI clients are pointed, such as http://127.0.0.1:8000/v1. The environments go into FOLDER,
where they are found again; without one they are thrown away. The model has to chat and to embed, as the demo
model does. Prints client by job, and ends with status 1 if one failed.
"""

import argparse
import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from shutil import copy
from tempfile import TemporaryDirectory

from check_lm_eval import tokenizer_files
from rich.console import Console
from rich.table import Table

SCRIPTS = Path(__file__).with_name("clients")
LIMIT_S = 900
PYTHON = {
    "openai": ("openai", "pydantic"),
    "langchain": ("langchain", "langchain-openai"),
    "llama_index": ("llama-index-core", "llama-index-llms-openai-like", "llama-index-embeddings-openai-like"),
    "instructor": ("instructor",),
    "pydantic_ai": ("pydantic-ai-slim[openai]",),
    "openai_agents": ("openai-agents",),
    "litellm": ("litellm",),
    "llm": ("llm",),
    "haystack": ("haystack-ai",),
    "smolagents": ("smolagents[openai]",),
    "autogen": ("autogen-agentchat", "autogen-ext[openai]"),
    "lm_eval": ("lm_eval[api]", "transformers"),
    "guidellm": ("guidellm",),
    "aiperf": ("aiperf",),
}
"""What each client in Python is installed from."""

NODE = {"openai_node": ("openai", "zod"), "ai_sdk": ("ai", "@ai-sdk/openai-compatible", "zod")}


def main() -> None:
    """Run the clients, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=[*PYTHON, *NODE], default=[*PYTHON, *NODE])
    given = parser.parse_args()
    table = Table("client", "version", "passed", "failed")
    bad = 0
    with TemporaryDirectory() as name:
        folder = (given.folder or Path(name)).resolve()
        if not (folder / "tokenizer").exists():
            folder.mkdir(exist_ok=True, parents=True)
            tokenizer_files(folder / "tokenizer")
        told = {"CLIENT_URL": given.url, "CLIENT_MODEL": given.model, "NO_COLOR": "1"}
        told |= {"CLIENT_TOKENIZER": str(folder / "tokenizer"), "HF_HUB_OFFLINE": "1"}
        for client in given.only:
            made = node(folder, client) if client in NODE else python(folder, client)
            found = list(jobs(made, told, folder / f"{client}.txt"))
            passed = [job for job, why in found if not why]
            failed = [f"{job}: {why.splitlines()[0][:300]}" for job, why in found if why]
            bad += len(failed) or not passed
            version = installed(folder, client)
            table.add_row(client, version, f"{len(passed)}: {', '.join(passed)}", "\n".join(failed))
            print(client, f"{len(passed)} of {len(found)}", *failed, sep="\n  ", flush=True)
    Console(width=150).print(table)
    sys.exit(bool(bad))


def python(folder: Path, client: str) -> list[str]:
    """The command that runs a client's script in its environment, which is made where it is not there."""
    own = folder / client
    if not (own / "done").exists():
        venv.create(own, with_pip=True)
        subprocess.run([own / "bin/python", "-m", "pip", "install", "-q", *PYTHON[client]], check=True)
        (own / "done").touch()
    return [str(own / "bin/python"), str(SCRIPTS / f"with_{client}.py")]


def node(folder: Path, client: str) -> list[str]:
    """The same for one in JavaScript; the script is copied to where its packages are."""
    own = folder / client
    if not (own / "done").exists():
        own.mkdir(exist_ok=True)
        (own / "package.json").write_text('{"type": "module", "private": true}')
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", *NODE[client]], cwd=own, check=True)
        (own / "done").touch()
    for script in ("jobs.mjs", f"with_{client}.mjs"):
        copy(SCRIPTS / script, own)
    return ["node", str(own / f"with_{client}.mjs")]


def jobs(command: list[str], told: dict[str, str], log: Path) -> Iterator[tuple[str, str]]:
    """What came of each job: its name, and why it failed; empty where it did not."""
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **told, "PYTHONPATH": ""},
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )
        said, status = done.stdout, done.returncode
        log.write_bytes(done.stdout + done.stderr)
    except subprocess.TimeoutExpired as failure:
        said, status = failure.stdout or b"", -1
    for line in said.decode(errors="replace").splitlines():
        if line.startswith('{"job"'):
            result = json.loads(line)
            yield result["job"], result["why"]
    if status:
        yield "script", f"ended with status {status}; see {log}"


def installed(folder: Path, client: str) -> str:
    """The version of a client's first package."""
    package = {**PYTHON, **NODE}[client][0].split("[")[0]
    if client in NODE:
        return str(
            json.loads((folder / client / "node_modules" / package / "package.json").read_text())["version"]
        )
    code = f"import importlib.metadata as m; print(m.version('{package}'))"
    made = subprocess.run(
        [folder / client / "bin/python", "-c", code], capture_output=True, text=True, check=False
    )
    return made.stdout.strip()


if __name__ == "__main__":
    main()
