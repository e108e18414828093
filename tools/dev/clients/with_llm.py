"""llm, the command line tool, told of a server in its own file of models."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from jobs import KEY, MODEL, URL, job, run

FOLDER = Path(tempfile.mkdtemp())
(FOLDER / "extra-openai-models.yaml").write_text(
    json.dumps(
        [
            {
                "model_id": "mesh",
                "model_name": MODEL,
                "api_base": URL,
                "api_key_name": "mesh",
                "supports_tools": True,
                "supports_schema": True,
            }
        ]
    )
)
(FOLDER / "keys.json").write_text(json.dumps({"mesh": KEY}))


def _said(*arguments: str) -> str:
    command = [sys.executable, "-m", "llm", "-m", "mesh", *arguments, "-o", "max_tokens", "64"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "LLM_USER_PATH": str(FOLDER)}
    )
    assert done.returncode == 0, done.stderr[-500:]
    return done.stdout


@job
def stream() -> None:
    assert _said("Say hello.").strip()


@job
def chat() -> None:
    assert _said("Say hello.", "--no-stream").strip()


@job
def structured_output() -> None:
    assert set(json.loads(_said("Ada is 36.", "--schema", "name, age int"))) == {"name", "age"}


@job
def tools() -> None:
    code = "def weather(city: str) -> str:\n    'The weather of a city.'\n    return 'Sunny.'\n"
    _said("How is the weather?", "--functions", code)


run()
