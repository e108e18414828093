"""Whether vLLM inside of workers does what its card says: a suite of the SDK, and a worker that is killed.

Real processes: a registry, a gateway, and two workers of an environment of their own, which has vLLM and what
the base of a worker needs. First requests of many kinds are answered undisturbed; then all of them run at
once on one worker, which is killed with SIGKILL in the midst of them. What must go on, by the card, has to
end with the same tokens as undisturbed (with ``--dtype float32``) or at all; what must not has to end with
worker_lost. Takes minutes, most of them for starting vLLM. Not a part of the tests.

Usage: python tools/dev/check_vllm.py --python ENVIRONMENT/bin/python --model FOLDER [--dtype float32]
       [--options ARGUMENTS] [--folder LOGS]
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from faulting.mesh import Plan, RunningMesh
from openai import AsyncOpenAI
from serving_vllm.failover import failover
from serving_vllm.suite import suite

ROOT = Path(__file__).resolve().parents[2]

START_LIMIT_S = 900.0

_METADATA = "Metadata-Version: 2.1\nName: inferloom\nVersion: 0\n"


def plan(python: Path, model: Path, dtype: str, options: str, folder: Path) -> Plan:
    """Two workers with vLLM, run from this source tree."""
    query = f"dtype={dtype}&max_model_len=2048&max_num_seqs=24&{options}"
    installed = folder / "installed" / "inferloom-0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text(_METADATA)
    source = [str(ROOT / part) for part in ("protos", "mesh", "registry", "worker", "gateway", "tools")]
    settings = {"PYTHONPATH": os.pathsep.join([*source, str(installed.parent)]), "HF_HUB_OFFLINE": "1"}
    return Plan(
        workers=2,
        spec=f"vllm:{model}?{query}",
        worker_python=python,
        settings={"worker": settings},
        start_limit_s=START_LIMIT_S,
    )


async def check(args: argparse.Namespace, folder: Path) -> int:
    """Run everything; return how much of it failed."""
    made = plan(args.python, args.model.resolve(), args.dtype, args.options, folder)
    async with (
        RunningMesh(Path(sys.executable), folder, made) as mesh,
        AsyncOpenAI(base_url=f"{mesh.url}/v1", api_key="none", max_retries=4, timeout=600) as client,
    ):
        failed = await suite(client)
        failed += await failover(client, mesh)
    print("all as said" if not failed else f"{failed} not as said")
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--python", type=Path, required=True, help="interpreter with vLLM")
    parser.add_argument("--model", type=Path, required=True, help="folder of a chat model in safetensors")
    parser.add_argument("--dtype", default="float32", help="type that is computed in")
    parser.add_argument(
        "--options", default="enforce_eager=true&max_num_batched_tokens=512", help="further arguments of vLLM"
    )
    parser.add_argument("--folder", type=Path, help="keeps the logs here")
    args = parser.parse_args()
    if args.folder is not None:
        args.folder.mkdir(parents=True, exist_ok=True)
        sys.exit(1 if asyncio.run(check(args, args.folder)) else 0)
    with TemporaryDirectory(prefix="il-") as folder:
        sys.exit(1 if asyncio.run(check(args, Path(folder))) else 0)


if __name__ == "__main__":
    main()
