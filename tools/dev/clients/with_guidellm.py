"""guidellm, which measures servers."""

import subprocess
import sys
import tempfile
from pathlib import Path

from jobs import MODEL, TOKENIZER, URL, job, run


@job
def benchmark() -> None:
    folder = tempfile.mkdtemp()
    command = [str(Path(sys.executable).with_name("guidellm")), "benchmark", "run"]
    command += ["--target", URL.removesuffix("/v1"), "--model", MODEL, "--processor", TOKENIZER]
    command += ["--profile", "synchronous", "--max-requests", "3", "--output-dir", folder]
    command += ["--data", "prompt_tokens=32,output_tokens=8", "--outputs", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-800:]
    written = "".join(path.read_text() for path in Path(folder).rglob("*.json"))
    assert '"successful"' in written, done.stdout[-800:]


run()
