"""Call a running mesh with @connectrpc/connect-web, the client that pages use, by Connect and gRPC-Web.

Usage: python tools/dev/web_clients.py [URL [MODEL]]

Needs node and npm; the packages go into a folder that is thrown away. Prints a line for each protocol and
check, and ends with status 1 if one failed. `inferloom up --model echo` is enough of a mesh.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_suffix(".mjs")
BUF = str(Path(sys.executable).with_name("buf"))

PACKAGES = ("@bufbuild/protobuf@2.17.0", "@connectrpc/connect@2.3.0", "@connectrpc/connect-web@2.3.0")


def main() -> None:
    given = sys.argv[1:3]
    url, model = (*given, *("http://127.0.0.1:8000", "echo")[len(given) :])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "package.json").write_text('{"type": "module", "private": true}')
        (folder / SCRIPT.name).write_text(SCRIPT.read_text())
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", *PACKAGES], cwd=folder, check=True)
        subprocess.run([BUF, "build", "-o", str(folder / "image.binpb")], cwd=ROOT, check=True)
        command = ["node", SCRIPT.name, url, "image.binpb", model]
        sys.exit(subprocess.run(command, cwd=folder, check=False).returncode)


if __name__ == "__main__":
    main()
