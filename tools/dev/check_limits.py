"""Whether limits hold: clients that ask all the time, against a limit of requests and one of tokens.

Real processes: one gateway of 1, 2 and 4 processes with keys in a file, and two gateways with keys in a real
Redis. Per setting, 16 clients with a key of limited requests and 16 with a key of limited tokens ask at once,
for two minutes. Requests: no minute has more than the limit, and each minute has at least 98 % of it (95 %
over Redis). Tokens: no minute has more than the limit and what the running calls overshoot.

Usage: python tools/dev/check_limits.py [--settings 1 2 4 redis] [--clients 16] [--seconds 121] [--requests
600]
       [--json FILE]
"""

import argparse
import asyncio
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from limiting.clients import Crowd
from limiting.mesh import MODEL, make_key, one_gateway, redis, two_gateways
from limiting.minutes import most_in_a_minute, whole_minutes

REQUESTS = 600
TOKENS = 20_000
MAX_TOKENS = 64

SLACK_S = {"redis": 0.5}
"""By how much longer than a minute something may be held back: two slots."""


def measure(setting: str, clients: int, seconds: float, requests: int) -> dict[str, Any]:
    """Run one setting with a limit of so many ``requests`` a minute."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="il-")))
        where = stack.enter_context(redis(folder)) if setting == "redis" else str(folder / "keys.db")
        by_requests = make_key(where, "--rpm", str(requests))
        by_tokens = make_key(where, "--tpm", str(TOKENS))
        urls = stack.enter_context(
            two_gateways(folder, where) if setting == "redis" else one_gateway(folder, where, int(setting))
        )
        body = {"model": MODEL, "prompt": "one two three four five six", "max_tokens": MAX_TOKENS}
        crowds = Crowd(urls, by_requests, {**body, "max_tokens": 1}), Crowd(urls, by_tokens, body)

        async def ask() -> None:
            await asyncio.gather(*(crowd.run(clients, seconds) for crowd in crowds))

        asyncio.run(ask())
    first, second = crowds
    overshoot = max((each.tokens for each in second.admitted), default=0) * clients
    return {
        "setting": setting,
        "limit": requests,
        "most_requests": most_in_a_minute(first.admitted, tokens=False),
        "minutes": whole_minutes(first.admitted, first.began, first.ended, SLACK_S.get(setting, 0.2)),
        "most_tokens": most_in_a_minute(second.admitted, tokens=True),
        "overshoot": overshoot,
        "requests_of_tokens": len(second.admitted),
        "refused": first.refused + second.refused,
        "failed": first.failed + second.failed,
    }


def faults(found: dict[str, Any]) -> list[str]:
    """What does not hold."""
    share = 0.95 if found["setting"] == "redis" else 0.98
    said = []
    if found["most_requests"] > found["limit"]:
        said.append(f"{found['most_requests']} requests in a minute")
    if not found["minutes"] or min(found["minutes"]) < share * found["limit"]:
        said.append(f"minutes with {found['minutes']} requests")
    if found["most_tokens"] > TOKENS + found["overshoot"]:
        said.append(f"{found['most_tokens']} tokens in a minute")
    if found["most_tokens"] < share * TOKENS - found["overshoot"]:
        said.append(f"only {found['most_tokens']} tokens in a minute")
    if found["failed"]:
        said.append(f"{len(found['failed'])} failed, the first with {found['failed'][0]}")
    return said


def main() -> None:
    """Run the settings and show a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--settings", nargs="+", default=["1", "2", "4", "redis"])
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=121.0)
    parser.add_argument("--requests", type=int, default=REQUESTS, help="limit of requests a minute")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(f"limits: {options.requests} requests/min, {TOKENS} tokens/min; {options.clients} clients each")
    print(f"{'processes':>10} {'most requests':>14} {'each minute':>16} {'most tokens':>12} {'refused':>8}")
    results, bad = [], 0
    for setting in options.settings:
        found = measure(setting, options.clients, options.seconds, options.requests)
        results.append(found)
        minutes = " ".join(map(str, found["minutes"]))
        row = f"{found['most_requests']:>14} {minutes:>16} {found['most_tokens']:>12} {found['refused']:>8}"
        print(f"{setting:>10} {row}", flush=True)
        for fault in faults(found):
            bad += 1
            print(f"  ! {fault}")
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
