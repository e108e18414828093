"""The tokenizer of a model folder."""

from pathlib import Path
from typing import Any

import tokenizers

from inferloom_worker.sourcing.json_files import read_object
from inferloom_worker.text.folder_added_tokens import NAMED, add_tokens, content
from inferloom_worker.text.tokenizer import Tokenizer

_CONVERTED = (
    *("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "tekken.json", "vocab.txt", "vocab.json"),
    *("tokenizer.tiktoken", "qwen.tiktoken"),
)
"""What tokenizers are kept in where there is no ``tokenizer.json``."""


def load_folder_tokenizer(folder: Path) -> Tokenizer:
    """Read ``tokenizer.json`` and what the folder's configuration files say about it.

    Raises:
        ValueError, OSError: The folder has no tokenizer that can be read.
    """
    config = read_object(folder / "tokenizer_config.json")
    special = {**read_object(folder / "special_tokens_map.json"), **config}
    names = {name: content(special[name]) for name in NAMED if special.get(name)}
    backend = _backend(folder, config)
    eos = {backend.token_to_id(names["eos_token"])} if "eos_token" in names else set()
    for file in ("generation_config.json", "config.json"):
        given = read_object(folder / file).get("eos_token_id")
        eos.update(given if isinstance(given, list) else [given])
    add_bos = config.get("add_bos_token")
    return Tokenizer(
        backend,
        eos_ids={i for i in eos if isinstance(i, int)},
        special_tokens=names,
        chat_template=_template(folder, config),
        add_bos=add_bos if isinstance(add_bos, bool) else None,
    )


def _backend(folder: Path, config: dict[str, Any]) -> tokenizers.Tokenizer:
    file = folder / "tokenizer.json"
    if not file.is_file():
        return _converted(folder)
    try:
        backend = tokenizers.Tokenizer.from_file(str(file))
    except Exception as failure:  # the library raises bare Exception for a file that it cannot read
        raise ValueError(f"{folder.name}/tokenizer.json cannot be read: {failure}") from failure
    add_tokens(backend, folder, config)
    return backend


def _converted(folder: Path) -> tokenizers.Tokenizer:
    """Made by transformers of a SentencePiece or vocabulary file."""
    found = next((name for name in _CONVERTED if (folder / name).is_file()), None)
    if found is None:
        raise ValueError(
            f"{folder.name} has no tokenizer: neither tokenizer.json nor {', '.join(_CONVERTED[:3])}"
        )
    # Imported here: it takes a second.
    from transformers import AutoTokenizer

    try:
        converted = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        backend = converted.backend_tokenizer
    except Exception as failure:  # the code of dozens of tokenizers, over a file that may hold anything
        reason = (str(failure) or type(failure).__name__).splitlines()[0]
        raise ValueError(
            f"{folder.name} has no tokenizer.json, and its {found} cannot be converted: {reason}"
        ) from failure
    if not isinstance(backend, tokenizers.Tokenizer):
        raise ValueError(f"{folder.name} has no tokenizer.json, and its {found} cannot be converted")
    return backend


def _template(folder: Path, config: dict[str, Any]) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    given = config.get("chat_template") or read_object(folder / "chat_template.json").get("chat_template")
    if isinstance(given, list):  # several named templates
        given = next((t.get("template") for t in given if t.get("name") == "default"), None)
    return given if isinstance(given, str) else None
