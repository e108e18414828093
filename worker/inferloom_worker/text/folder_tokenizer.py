"""The tokenizer of a model folder."""

from pathlib import Path
from typing import Any

import tokenizers

from inferloom_worker.sourcing.json_files import read_object
from inferloom_worker.text.tokenizer import Tokenizer

_NAMED = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


def load_folder_tokenizer(folder: Path) -> Tokenizer:
    """Read ``tokenizer.json`` and what the folder's configuration files say about it.

    Raises:
        ValueError, OSError: The folder has no tokenizer that can be read.
    """
    config = read_object(folder / "tokenizer_config.json")
    special = {**read_object(folder / "special_tokens_map.json"), **config}
    names = {name: _content(special[name]) for name in _NAMED if special.get(name)}
    backend = _backend(folder)
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


def _backend(folder: Path) -> tokenizers.Tokenizer:
    file = folder / "tokenizer.json"
    if file.is_file():
        try:
            return tokenizers.Tokenizer.from_file(str(file))
        except Exception as failure:  # the library raises bare Exception for a file that it cannot read
            raise ValueError(f"{folder.name}/tokenizer.json cannot be read: {failure}") from failure
    # A folder with only a SentencePiece or vocabulary file is converted. Imported here: it takes a second.
    from transformers import AutoTokenizer

    converted = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    backend = getattr(converted, "backend_tokenizer", None)
    if not isinstance(backend, tokenizers.Tokenizer):
        raise ValueError(f"{folder.name} has no tokenizer.json, and its tokenizer cannot be converted")
    return backend


def _template(folder: Path, config: dict[str, Any]) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    given = config.get("chat_template") or read_object(folder / "chat_template.json").get("chat_template")
    if isinstance(given, list):  # several named templates
        given = next((t.get("template") for t in given if t.get("name") == "default"), None)
    return given if isinstance(given, str) else None


def _content(token: Any) -> str:
    return str(token["content"]) if isinstance(token, dict) else str(token)
