"""Hold the contract to its committed image, or replace the image.

Usage: python tools/dev/contract.py [--accept]

Without an argument: fail if a .proto changed in a way that breaks those who were built against the image
(`buf breaking`), or if CHANGELOG.md has no line that names the image's hash. With --accept: make the image
anew and print the line that CHANGELOG.md needs.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "protos" / "contract.binpb"
BUF = str(Path(sys.executable).with_name("buf"))


def line() -> str:
    """What CHANGELOG.md says of the image."""
    return f"contract image {hashlib.sha256(IMAGE.read_bytes()).hexdigest()[:12]}"


def main() -> None:
    image = str(IMAGE.relative_to(ROOT))
    if "--accept" in sys.argv:
        # Without source info: a comment that changes is no change of the contract.
        subprocess.run([BUF, "build", "--exclude-source-info", "-o", image], cwd=ROOT, check=True)
        print(f"Add to CHANGELOG.md, with what changed: {line()}")
        return
    status = subprocess.run([BUF, "breaking", "--against", image], cwd=ROOT, check=False).returncode
    if status:
        sys.exit(f"the contract breaks its clients; if that is meant: python {sys.argv[0]} --accept")
    if line() not in (ROOT / "CHANGELOG.md").read_text():
        sys.exit(f"CHANGELOG.md has no line for the {line()}")


if __name__ == "__main__":
    main()
