"""What the scripts of all clients share: each job is a function, and what came of it a line of JSON.

No client is imported here, and nothing that their environments lack.
"""

import json
import os
import traceback
from collections.abc import Callable

URL = os.environ["CLIENT_URL"]
"""Where OpenAI clients are pointed, with ``/v1``."""

MODEL = os.environ["CLIENT_MODEL"]

TOKENIZER = os.environ.get("CLIENT_TOKENIZER", "")
"""A folder with the model's tokenizer as transformers reads it."""

KEY = "none"

_JOBS: list[tuple[str, Callable[[], object]]] = []


def job(function: Callable[[], object]) -> Callable[[], object]:
    """Mark a function as a job, by its name. It fails by raising."""
    _JOBS.append((function.__name__.strip("_").replace("_", " "), function))
    return function


def run() -> None:
    """Do all jobs, and print what came of each."""
    for name, function in _JOBS:
        try:
            function()
        except BaseException as failure:  # what clients raise is their own business
            why = "".join(traceback.format_exception_only(failure)).strip()
            traceback.print_exc()
            print(json.dumps({"job": name, "why": why[:2000] or "failed"}), flush=True)
        else:
            print(json.dumps({"job": name, "why": ""}), flush=True)
