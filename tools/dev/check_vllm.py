"""Whether vLLM inside of workers does what its card says: a suite of the SDK, and a worker that is killed.

Real processes: a registry, a gateway, and two workers of an environment of their own, which has vLLM and what
the base of a worker needs. First requests of many kinds are answered undisturbed; then all of them run at
once on one worker, which is killed with SIGKILL in the midst of them. What must go on, by the card, has to
end with the same tokens as undisturbed (with ``--dtype float32``) or at all; what must not has to end with
worker_lost. Takes minutes, most of them for starting vLLM. Not a part of the tests.

Usage: python tools/dev/check_vllm.py --python ENVIRONMENT/bin/python --model FOLDER [--dtype float32]
       [--tiny] [--threads N] [--options ARGUMENTS] [--failover-only] [--folder LOGS]
"""

import argparse
import asyncio
import sys
from pathlib import Path

from answering.show import Answers, differences
from answering.suite import CASES, card_of, suite
from faulting.mesh import RunningMesh
from faulting.parts import MODEL
from openai import AsyncOpenAI
from peers.process import end_well
from serving_vllm.failover import failover
from serving_vllm.given import add_model, add_python, model_of, query_of, room, vllm_of
from serving_vllm.plan import in_workers


async def check(args: argparse.Namespace, model: Path, folder: Path) -> int:
    """Run everything; return how much of it failed."""
    query = query_of(args, dtype=args.dtype, max_model_len=2048, max_num_seqs=24)
    plan = in_workers(vllm_of(args), f"vllm:{model}?{query}", folder, workers=2)
    failed = 0
    async with (
        RunningMesh(Path(sys.executable), folder, plan) as mesh,
        AsyncOpenAI(base_url=f"{mesh.url}/v1", api_key="none", max_retries=4, timeout=600) as client,
    ):
        if not args.failover_only:
            found = {"vllm": Answers(await card_of(client, MODEL), await suite(client, MODEL))}
            for line in differences(CASES, found):
                print(f"  no  {line}", flush=True)
                failed += 1
        failed += await failover(client, mesh)
    print("all as said" if not failed else f"{failed} not as said")
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add_python(parser)
    add_model(parser, options="enforce_eager=true&max_num_batched_tokens=512", computes="each vLLM computes")
    parser.add_argument("--dtype", default="float32", help="type that is computed in")
    parser.add_argument("--failover-only", action="store_true", help="without the suite")
    args = parser.parse_args()
    end_well()
    with room(args) as folder:
        sys.exit(1 if asyncio.run(check(args, model_of(args, folder), folder)) else 0)


if __name__ == "__main__":
    main()
