"""The tokenizer inside a GGUF file.

A GGUF file holds a vocabulary and merges under llama.cpp's key names, and only the name of the rule that
splits text before merging. transformers knows how to put these together again; its result is kept in the
cache folder, because making it costs a second and reading it back does not.
"""

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import pre_tokenizers

from inferloom_worker.text.tokenizer import Tokenizer, short_hash
from inferloom_worker.weights.gguf import GgufFile

# Vocabularies whose merges were learned on single digits; transformers' conversion splits them as GPT-2's.
_SINGLE_DIGITS = frozenset(
    {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"}
)
_FORM = 1
"""Raised when the same file would be converted differently."""
_EOS_KEYS = ("eos_token_id", "eot_token_id", "eom_token_id")
_NAMED = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}

log = logging.getLogger(__name__)


def load_gguf_tokenizer(file: GgufFile, cache: Path) -> Tokenizer:
    """Build the tokenizer of ``file``, or read it back from the folder ``cache``.

    Raises:
        ValueError: The file has no tokenizer, or one of a kind that is not known.
    """
    ggml = {
        key.removeprefix("tokenizer.ggml."): value
        for key, value in file.metadata.items()
        if key.startswith("tokenizer.ggml.")
    }
    tokens: list[str] = ggml.get("tokens", [])
    if not tokens:
        raise ValueError(f"{file.path.name} holds no tokenizer")

    def spelled(key: str) -> str | None:
        index = ggml.get(key)
        return tokens[index] if isinstance(index, int) and 0 <= index < len(tokens) else None

    template = file.metadata.get("tokenizer.chat_template")
    return Tokenizer(
        _cached(file.architecture, ggml, cache),
        eos_ids={ggml[key] for key in _EOS_KEYS if isinstance(ggml.get(key), int)},
        special_tokens={name: token for name, key in _NAMED.items() if (token := spelled(key))},
        chat_template=template if isinstance(template, str) else None,
        # Files from before the flag: llama.cpp puts a begin token before SentencePiece vocabularies.
        add_bos=bool(ggml.get("add_bos_token", ggml.get("model") == "llama")),
    )


def _cached(architecture: str, ggml: Mapping[str, Any], cache: Path) -> tokenizers.Tokenizer:
    kept = cache / "tokenizers" / f"{_key(architecture, ggml)}.json"
    if kept.is_file():
        try:
            return tokenizers.Tokenizer.from_file(str(kept))
        except Exception:  # the library raises bare Exception for a file that it cannot read
            log.warning("%s is damaged and will be made again", kept)
    backend = convert(architecture, ggml)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            draft = Path(folder) / kept.name
            backend.save(str(draft), pretty=False)
            draft.replace(kept)
    except OSError as failure:
        log.warning("the tokenizer cannot be kept for the next start: %s", failure)
    return backend


def convert(architecture: str, ggml: Mapping[str, Any]) -> tokenizers.Tokenizer:
    """Make a tokenizer of the values under ``tokenizer.ggml.``.

    Raises:
        ValueError: The vocabulary is of a kind that is not known.
    """
    # Imported here: it takes a second, and only the first start with a model needs it.
    from transformers.integrations.gguf.gguf_tokenizer_mapping import (
        GGUF_TOKENIZER_MAPPING,
        convert_gguf_tokenizer,
    )

    names = GGUF_TOKENIZER_MAPPING["tokenizer"]
    values = {name: ggml[key] for k, name in names.items() if (key := k.removeprefix("ggml.")) in ggml}
    backend, _ = convert_gguf_tokenizer(architecture, values)
    if ggml.get("pre") in _SINGLE_DIGITS:
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
    converted: tokenizers.Tokenizer = backend
    return converted


def _key(architecture: str, ggml: Mapping[str, Any]) -> str:
    lists = (
        "\0".join(map(str, value)) if isinstance(value, list) else value for _, value in sorted(ggml.items())
    )
    return short_hash(_FORM, architecture, tokenizers.__version__, *sorted(ggml), *lists)
