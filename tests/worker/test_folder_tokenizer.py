"""Tokenizers of folders against transformers: which files they are read from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import tokenizers
from tokenizers import decoders, models, pre_tokenizers
from transformers import AutoTokenizer

from inferloom_worker.text.folder_tokenizer import load_folder_tokenizer

TEXT = "hi <|end|> there<tool><image>\n <|end|>x [PAD]"
TOKENS = [*"abcdefghijklmnopqrstuvwxyz<|>[]P", "Ġ", "Ċ", "th", "A", "D"]


def _folder(path: Path, **files: Any) -> Path:
    backend = tokenizers.Tokenizer(models.BPE({text: i for i, text in enumerate(TOKENS)}, [("t", "h")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<s>"])
    backend.save(str(path / "tokenizer.json"))
    for name, value in {"tokenizer_config": {}, **files}.items():
        value.update({"tokenizer_class": "PreTrainedTokenizerFast"} if name == "tokenizer_config" else {})
        (path / f"{name}.json").write_text(json.dumps(value))
    return path


def _token(text: str, **flags: bool) -> dict[str, Any]:
    plain = dict.fromkeys(("lstrip", "rstrip", "normalized", "single_word", "special"), False)
    return {"content": text, **plain, **flags}


END = len(TOKENS) + 1
FILES: dict[str, dict[str, Any]] = {
    "added_tokens_decoder": {
        "tokenizer_config": {
            "added_tokens_decoder": {
                str(END - 1): _token("<s>", special=True),
                str(END): _token("<|end|>", special=True, rstrip=True),
                str(END + 1): _token("<tool>"),
            }
        }
    },
    "an end token by name": {"tokenizer_config": {"eos_token": "<|end|>"}},
    "an end token as an object": {
        "tokenizer_config": {"eos_token": {"__type": "AddedToken"} | _token("<|end|>")}
    },
    "extra_special_tokens": {"tokenizer_config": {"extra_special_tokens": ["<|end|>", "<tool>"]}},
    "additional_special_tokens": {"tokenizer_config": {"additional_special_tokens": ["<tool>"]}},
    "named extra tokens": {"tokenizer_config": {"extra_special_tokens": {"image_token": "<image>"}}},
    "a token of the model's own name": {"tokenizer_config": {"image_token": "<image>"}},
    "added_tokens.json": {"added_tokens": {"<tool>": END + 1, "<|end|>": END}},
    "special_tokens_map.json": {
        "special_tokens_map": {"eos_token": _token("<|end|>", lstrip=True), "pad_token": "[PAD]"},
        "added_tokens": {"<|end|>": END},
    },
    "a token of the vocabulary": {"tokenizer_config": {"pad_token": "th"}},
    "an id that is taken": {
        "tokenizer_config": {"added_tokens_decoder": {"2": _token("<|end|>", special=True)}}
    },
}


@pytest.mark.parametrize("files", FILES.values(), ids=FILES)
def test_tokens_are_added_from_the_files_that_transformers_reads(
    files: dict[str, Any], tmp_path: Path
) -> None:
    """The same ids, and the same tokens left out of answers."""
    folder = _folder(tmp_path, **files)
    reference = AutoTokenizer.from_pretrained(folder)
    tokenizer = load_folder_tokenizer(folder)
    ids = tokenizer.encode(TEXT, add_special_tokens=False)

    assert reference.encode(TEXT, add_special_tokens=False) == ids
    assert max(ids) >= END or "th" in str(files)
    assert reference.decode(ids, skip_special_tokens=True) == tokenizer.decode(ids, skip_special_tokens=True)


def test_an_end_of_turn_that_only_the_configuration_adds_ends_a_completion(tmp_path: Path) -> None:
    """It is one of the end tokens."""
    tokenizer = load_folder_tokenizer(_folder(tmp_path, tokenizer_config={"eos_token": "<|end|>"}))

    assert tokenizer.eos_ids == {END}
    assert tokenizer.encode("<|end|>", add_special_tokens=False) == [END]


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_folder_with_only_a_sentencepiece_model_is_read(kind: str, tmp_path: Path) -> None:
    """Its ids are SentencePiece's own, with a begin token before them."""
    lines = ["The capital of France is Paris.", "Hello world, it is fine: 12345!", "naïve café 日本語"] * 20
    (tmp_path / "lines.txt").write_text("\n".join(lines))
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "lines.txt"),
        model_prefix=str(tmp_path / "tokenizer"),
        vocab_size=340,
        model_type=kind,
        byte_fallback=True,
        character_coverage=1.0,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "LlamaTokenizer",
                "bos_token": "<s>",
                "eos_token": "</s>",
                "unk_token": "<unk>",
            }
        )
    )
    own = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    reference = AutoTokenizer.from_pretrained(tmp_path)
    tokenizer = load_folder_tokenizer(tmp_path)

    for text in (*lines[:3], "x  y", "🙂"):
        ids = tokenizer.encode(text, add_special_tokens=True)
        assert reference.encode(text) == ids
        if kind == "bpe" and "  " not in text:  # the trained model joins spaces
            assert own.encode(text) == tokenizer.encode(text, add_special_tokens=False)


def _only(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text("no such thing")


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda folder: None, "has no tokenizer: neither tokenizer.json nor tokenizer.model"),
    "a damaged model": (
        _only("tokenizer.model"),
        "has no tokenizer.json, and its tokenizer.model cannot be converted",
    ),
    "tokens in another form": (
        lambda folder: _folder(folder, tokenizer_config={"added_tokens_decoder": [1]}),
        "added_tokens_decoder of another form",
    ),
    "ids in another form": (
        lambda folder: _folder(folder, added_tokens={"a": "b"}),
        "added_tokens.json does not give",
    ),
}


@pytest.mark.parametrize(("make", "words"), BROKEN.values(), ids=BROKEN)
def test_a_folder_without_a_tokenizer_is_told_so(
    make: Callable[[Path], object], words: str, tmp_path: Path
) -> None:
    """In one line, without a full stop that the caller would double."""
    make(tmp_path)

    with pytest.raises(ValueError, match=words) as caught:
        load_folder_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)
