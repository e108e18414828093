"""What vLLM leaves to who asks it for vectors of an embedding model: what else the folder's files say."""

import json
from pathlib import Path

from inferloom_worker.sourcing.json_files import read_object
from inferloom_worker.sourcing.sources import SourceError


def normalizes(folder: Path) -> bool:
    """Whether the model's vectors have unit length, which vLLM gives them not by itself.

    Raises:
        SourceError: The folder puts a prompt before texts.
    """
    vectors = read_object(folder / "config_sentence_transformers.json")
    if vectors.get("default_prompt_name"):
        raise SourceError("the engine vllm puts no prompt before texts, which this embedding model wants")
    modules = folder / "modules.json"
    if not modules.is_file():
        return False
    kinds = [str(each.get("type", "")) for each in json.loads(modules.read_text())]
    return bool(kinds) and kinds[-1].endswith(".Normalize")
