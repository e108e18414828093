"""guidellm, which measures servers."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from jobs import MODEL, TOKENIZER, URL, job, run


@job
def benchmark() -> None:
    folder = tempfile.mkdtemp()
    command = [str(Path(sys.executable).with_name("guidellm")), "run", "--disable-console"]
    command += ["--backend", f"kind=openai_http,target={URL.removesuffix('/v1')},model={MODEL}"]
    command += ["--profile", "kind=synchronous", "--constraint", "kind=max_requests,count=3"]
    command += ["--tokenizer", f"kind=huggingface_auto,model={TOKENIZER}"]
    command += ["--data", "kind=synthetic_text,prompt_tokens=32,output_tokens=8"]
    command += ["--output", f"kind=json,path={folder}/found.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-800:]
    written = "".join(path.read_text() for path in Path(folder).rglob("*.json"))
    assert re.search(r'"successful": ?3\b', written), written[:800]


run()
