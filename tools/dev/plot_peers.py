"""Draw the picture of the documents from what `bench_peers.py --json FILE` wrote.

Usage: python tools/dev/plot_peers.py FILE [PICTURE]

PICTURE is docs/images/peers.svg unless another is named.
"""

import json
import sys
from pathlib import Path

from peers.picture import picture

PICTURE = Path(__file__).parents[2] / "docs/images/peers.svg"
TITLE = "In front of a costless upstream, on two cores: median, least and most"


def main(file: str, target: str = "") -> None:
    """Measures in brackets are not compared, and starting is not a proxy's work."""
    rounds: dict[str, list[dict[str, float]]] = json.loads(Path(file).read_text(encoding="utf-8"))["rounds"]
    names = [name for name in next(iter(rounds.values()))[0] if not name.startswith(("(", "start "))]
    measures = {
        name: {side: [one[name] for one in figures] for side, figures in rounds.items()} for name in names
    }
    (Path(target) if target else PICTURE).write_text(picture(TITLE, measures), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
