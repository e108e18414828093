"""The entry of the ``inferloom`` command, which explains itself also where it cannot run."""

import os
import sys

from inferloom_cli.refusal import RefusedError
from inferloom_mesh.extras import advice


def main() -> None:
    """Run the command line: exit status 0 done, 1 failed, 2 asked for wrongly, 130 stopped by Ctrl-C."""
    # gRPC's core writes lines of its own about what it then reports as an error, which we tell in words.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from inferloom_cli.main import app
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("inferloom"):
            raise
        sys.exit(f"inferloom: {advice(missing.name or 'the command line', 'all')}")
    try:
        app(prog_name="inferloom")
    except RefusedError as refusal:
        print(f"inferloom: {refusal}", file=sys.stderr)
        sys.exit(refusal.status)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
