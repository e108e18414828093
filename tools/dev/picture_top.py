"""Take the picture of `inferloom top` that the documents show, of a mesh that runs.

Usage: python tools/dev/picture_top.py [GATEWAY [FILE]]

GATEWAY is the gRPC port of one that works, 127.0.0.1:9000 unless another is named; FILE is
docs/images/top.svg unless another is named.
"""

import asyncio
import io
import sys
from pathlib import Path

from rich.console import Console

from inferloom.v1 import gateway_pb2 as pb
from inferloom.v1.gateway_pb2_grpc import GatewayServiceStub
from inferloom_cli.top_screen import screen
from inferloom_mesh.channel import open_channel

FILE = Path(__file__).parents[2] / "docs/images/top.svg"
WIDTH, HEIGHT = 132, 30
MOST_BYTES = 150_000
LOOKS = 24
"""Looks, a second apart, from which the small graph of tokens a second is made."""


async def main(gateway: str = "127.0.0.1:9000", file: str = "") -> None:
    """Look for a while, and draw the last look."""
    rates: list[float] = []
    mesh = pb.Mesh()
    async with open_channel(gateway) as channel:
        for _ in range(LOOKS):
            mesh = (await GatewayServiceStub(channel).GetMesh(pb.GetMeshRequest())).mesh
            rates.append(mesh.activity.tokens_per_second)
            await asyncio.sleep(1.0)
    console = Console(record=True, width=WIDTH, file=io.StringIO(), highlight=False, force_terminal=True)
    console.print(screen(mesh, WIDTH, HEIGHT, rates))
    picture = console.export_svg(title="inferloom top")
    if len(picture) > MOST_BYTES:
        sys.exit(f"the picture has {len(picture)} bytes; {MOST_BYTES} are enough")
    place = Path(file) if file else FILE
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(picture + "\n", encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
