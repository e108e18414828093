"""What a cross-encoder's output becomes, as its folder says it for sentence-transformers."""

import re
from pathlib import Path

from inferloom_worker.sourcing.json_files import read_object

_OF_TORCH = re.compile(r"torch\.nn\.(?:modules\.(?:activation|linear)\.)?([A-Za-z0-9]+)")


def activation_name(folder: Path) -> str:
    """Name of a class of ``torch.nn``, such as ``Sigmoid``, which is what is meant where nothing is said.

    Raises:
        ValueError: It is code of somebody else's.
    """
    config = read_object(folder / "config.json")
    marked = config.get("sentence_transformers")
    given = (
        read_object(folder / "config_sentence_transformers.json").get("activation_fn"),
        marked.get("activation_fn") if isinstance(marked, dict) else None,
        config.get("sbert_ce_default_activation_function"),  # before version 4
    )
    path = next((one for one in given if one is not None), "torch.nn.Sigmoid")
    match = _OF_TORCH.fullmatch(path) if isinstance(path, str) else None
    if match is None:
        raise ValueError(f"{folder.name} has the activation {path!r}, which is none of torch.nn")
    return match[1]
