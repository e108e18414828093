"""Do log-likelihoods come out as transformers' own when lm-eval asks for them?

Runs lm-eval's local-completions, in an environment of its own, on a task of ten questions against a mesh with
the demo model: once in float32 and once in the kernels. What it reports for each answer is compared, per
token, with what transformers computes of the same texts.

Usage: python tools/dev/check_lm_eval.py [--python ENVIRONMENT/bin/python] [--only float32|kernels]
"""

import argparse
import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from peers.own import mesh
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from inferloom_worker.sourcing import demo
from inferloom_worker.text.gguf_tokenizer import load_gguf_tokenizer
from inferloom_worker.weights.gguf import read_gguf

MODEL = "smollm2-135m-instruct"
NEEDS = ("lm_eval[api]==0.4.13", "transformers")
TOLERANCE = {"float32": 1e-3, "kernels": 5e-3}
"""Most that a log-likelihood may be off, divided by its tokens."""

QUESTIONS = (
    ("The capital of France is", "Paris", "a kind of cheese"),
    ("Water freezes at", "zero degrees Celsius", "noon"),
    ("The opposite of hot is", "cold", "seven"),
    ("Bees make", "honey", "sandwiches"),
    ("A triangle has", "three sides", "three wings"),
    ("The sun rises in the", "east", "kitchen"),
    ("Two plus two is", "four", "a bridge"),
    ("Fish live in", "water", "envelopes"),
    ("The first month of the year is", "January", "Tuesday"),
    ("To cut paper one uses", "scissors", "a song"),
)
TASK = {
    "task": "inferloom_ten",
    "dataset_path": "json",
    "output_type": "multiple_choice",
    "test_split": "test",
    "doc_to_text": "{{question}}",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "{{answer}}",
    "target_delimiter": " ",
    "metric_list": [{"metric": "acc"}],
}


def main() -> None:
    """Compare, and end with status 1 if a log-likelihood is off."""
    options = argparse.ArgumentParser(description="lm-eval against transformers")
    options.add_argument("--python", type=Path, help="of an environment that has lm-eval and transformers")
    options.add_argument("--only", choices=list(TOLERANCE))
    given = options.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        python = given.python or environment(folder / "environment")
        tokenizer_files(folder / "tokenizer")
        task_files(folder / "task")
        found = {kind: ask(kind, python, folder) for kind in TOLERANCE if given.only in (None, kind)}
        off = compare(found, folder / "tokenizer")
    for kind, (worst, count) in off.items():
        verdict = "ok" if worst <= TOLERANCE[kind] else "OFF"
        bar = f"bar {TOLERANCE[kind]:.0e}"
        print(f"{kind:8} {count} answers, off by at most {worst:.2e} per token ({bar}) {verdict}")
    sys.exit(any(worst > TOLERANCE[kind] for kind, (worst, _) in off.items()))


def environment(folder: Path) -> Path:
    """An environment with lm-eval; its interpreter."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", *NEEDS], check=True)
    return python


def tokenizer_files(folder: Path) -> None:
    """The demo model's tokenizer as transformers reads it; its file has it in another form."""
    folder.mkdir()
    tokenizer = load_gguf_tokenizer(read_gguf(demo.fetch(MODEL)))
    (folder / "tokenizer.json").write_text(tokenizer.serialized())
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **tokenizer.special_tokens}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def task_files(folder: Path) -> None:
    """The questions, in lm-eval's own form of a task."""
    folder.mkdir()
    items = folder / "items.jsonl"
    lines = [{"question": q, "choices": [right, wrong], "answer": 0} for q, right, wrong in QUESTIONS]
    items.write_text("".join(json.dumps(line) + "\n" for line in lines))
    task = {**TASK, "dataset_kwargs": {"data_files": {"test": str(items)}}}
    (folder / "ten.yaml").write_text(json.dumps(task))  # JSON is YAML


def ask(kind: str, python: Path, folder: Path) -> list[tuple[str, str, float]]:
    """What lm-eval reports of the model: context, continuation and log-likelihood of each answer."""
    settings = {"INFERLOOM_DTYPE": "float32"} if kind == "float32" else {}
    out = folder / f"out-{kind}"
    with mesh(folder / f"{kind}.log", "--model", MODEL, **settings) as (report, _):
        arguments = {
            "model": MODEL,
            "base_url": f"http://{report['rest']}/v1/completions",
            "tokenizer": str(folder / "tokenizer"),
            "tokenizer_backend": "huggingface",
            "num_concurrent": 1,
            "max_retries": 5,
        }
        command = [python, "-m", "lm_eval", "--model", "local-completions", "--tasks", TASK["task"]]
        command += ["--model_args", ",".join(f"{name}={value}" for name, value in arguments.items())]
        command += ["--include_path", folder / "task", "--output_path", out, "--log_samples"]
        command += ["--batch_size", "2"]
        offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "OPENAI_API_KEY": "none"}
        subprocess.run(list(map(str, command)), check=True, env=os.environ | offline, cwd=folder)
    (samples,) = out.rglob("samples_*.jsonl")
    return [answer for line in samples.read_text().splitlines() for answer in answers(json.loads(line))]


def answers(sample: dict[str, Any]) -> list[tuple[str, str, float]]:
    """The answers of one question, as lm-eval logs them."""
    found = []
    for index, (response,) in enumerate(sample["resps"]):
        arguments = sample["arguments"][f"gen_args_{index}"]
        found.append((arguments["arg_0"], arguments["arg_1"], float(response[0])))
    return found


def compare(
    found: dict[str, list[tuple[str, str, float]]], tokenizer_folder: Path
) -> dict[str, tuple[float, int]]:
    """The largest difference per token from transformers, and the number of answers, of each kind."""
    file = demo.fetch(MODEL)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    model = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    ).eval()
    off = {}
    for kind, reported in found.items():
        differences = [
            abs(number - expected) / tokens
            for context, continuation, number in reported
            for expected, tokens in [likelihood(model, tokenizer, context, continuation)]
        ]
        off[kind] = max(differences), len(differences)
    return off


def likelihood(model: Any, tokenizer: Any, context: str, continuation: str) -> tuple[float, int]:
    """The log-likelihood of a continuation in transformers, and its number of tokens."""
    before = len(tokenizer(context, add_special_tokens=False).input_ids)
    ids = tokenizer(context + continuation, add_special_tokens=False).input_ids
    with torch.inference_mode():
        rows = model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
    own = [float(rows[place - 1, ids[place]]) for place in range(before, len(ids))]
    return sum(own), len(own)


if __name__ == "__main__":
    main()
