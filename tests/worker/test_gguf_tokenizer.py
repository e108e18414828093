"""Tokenizers of GGUF files against llama.cpp.

``llama_cpp_ids.json`` has small vocabularies and the ids that ``llama_tokenize`` of llama.cpp gave for them,
recorded once: with special tokens added, and those that a text spells parsed.
"""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from tokenizers import pre_tokenizers

from inferloom_worker.text.gguf_splits import SPLITS
from inferloom_worker.text.gguf_tokenizer import load_gguf_tokenizer, merges_by_score
from inferloom_worker.text.tokenizer import Tokenizer
from inferloom_worker.weights.gguf import GgufFile

RECORDED = json.loads((Path(__file__).parent / "llama_cpp_ids.json").read_text())
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def load(ggml: dict[str, Any], name: str = "") -> Tokenizer:
    """The tokenizer of a file with these values under ``tokenizer.ggml.``."""
    metadata = {"general.architecture": "llama", "general.name": name}
    given = {f"tokenizer.ggml.{key}": value for key, value in ggml.items() if value is not None}
    return load_gguf_tokenizer(GgufFile(Path("small.gguf"), metadata | given, {}))


def byte_pairs() -> dict[str, Any]:
    """The recorded vocabulary of byte pairs."""
    table = RECORDED["byte_pairs"]
    spelled = [*table["special"], *sorted(pre_tokenizers.ByteLevel.alphabet())]
    joined = dict.fromkeys("".join(merge.split(" ")) for merge in table["merges"])
    made = [text for text in joined if text not in spelled]
    return {
        "model": "gpt2",
        "tokens": [*spelled, *made, *(text for text, _ in table["extra"])],
        "token_type": [
            3,
            3,
            3,
            *([1] * (len(spelled) + len(made) - 3)),
            *(kind for _, kind in table["extra"]),
        ],
        "merges": table["merges"],
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def sentencepiece() -> dict[str, Any]:
    """The recorded vocabulary of SentencePiece's kind."""
    pieces = RECORDED["sentencepiece"]["pieces"]
    spaces = ["▁" * n for n in range(2, RECORDED["sentencepiece"]["spaces"] + 1)]
    return {
        "model": "llama",
        "tokens": ["<unk>", "<s>", "</s>", *BYTES, *pieces, *spaces, "<|user|>", "<|end|>", "<|endoftext|>"],
        "scores": [0.0] * 259 + [-float(i) for i in range(len(pieces))] + [1.0] * len(spaces) + [-1e3] * 3,
        "token_type": [2, 3, 3] + [6] * 256 + [1] * (len(pieces) + len(spaces)) + [3, 1, 3],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "unknown_token_id": 0,
    }


@pytest.mark.parametrize(
    ("pre", "expected"),
    [(pre, case["ids"]) for case in RECORDED["byte_pairs"]["cases"] for pre in case["pre"]],
)
def test_byte_pairs_are_those_of_llama_cpp(pre: str | None, expected: list[list[int]]) -> None:
    """Every name of ``pre``, and none, splits and joins as in llama.cpp."""
    tokenizer = load({**byte_pairs(), "pre": pre})

    texts = RECORDED["byte_pairs"]["texts"]
    assert expected == [tokenizer.encode(text, add_special_tokens=True) for text in texts]
    assert set(RECORDED["byte_pairs"]["ends"]) == tokenizer.eos_ids


@pytest.mark.parametrize(
    ("model", "pre", "expected"),
    [(*kind, case["ids"]) for case in RECORDED["spelled"]["cases"] for kind in case["kinds"]],
)
def test_byte_pairs_of_characters_are_those_of_llama_cpp(
    model: str, pre: str | None, expected: list[list[int]]
) -> None:
    """Vocabularies whose pairs are of characters, with bytes for the rest, as Gemma 4's."""
    table = RECORDED["spelled"]
    lines = ["\n", "\n\n", "\n\n\n"]
    tokens = [*table["special"], *BYTES, *(p for p in lines if p not in table["pieces"]), *table["pieces"]]
    tokenizer = load(
        {
            "model": model,
            "pre": pre,
            "tokens": tokens,
            "merges": table["merges"],
            "token_type": [3] * 4 + [6] * 256 + [1] * (len(tokens) - 260),
            "bos_token_id": 2,
            "eos_token_id": 1,
        }
    )

    assert expected == [tokenizer.encode(text, add_special_tokens=True) for text in table["texts"]]


def test_every_name_of_a_split_was_recorded() -> None:
    """No name of ``pre`` is known that was not compared."""
    recorded = {pre for case in RECORDED["byte_pairs"]["cases"] for pre in case["pre"]}
    spelled = {pre for case in RECORDED["spelled"]["cases"] for _, pre in case["kinds"]}

    assert recorded | spelled == {*SPLITS, None}


@pytest.mark.parametrize(
    "case", RECORDED["sentencepiece"]["cases"], ids=lambda c: f"{c['name']}-{c['add_space_prefix']}"
)
def test_sentencepieces_are_those_of_llama_cpp(case: dict[str, Any]) -> None:
    """Scores, bytes, the space before a text or none, and Phi-3's tokens that take spaces after them."""
    tokenizer = load({**sentencepiece(), "add_space_prefix": case["add_space_prefix"]}, case["name"])
    texts = RECORDED["sentencepiece"]["texts"]

    assert case["ids"] == [tokenizer.encode(text, add_special_tokens=True) for text in texts]
    assert set(RECORDED["sentencepiece"]["ends"]) == tokenizer.eos_ids


def test_runs_of_one_character_are_joined_from_the_left() -> None:
    """Pieces of equal score go from left to right in llama.cpp: nine spaces are eight and one."""
    tokenizer = load({**sentencepiece(), "add_space_prefix": False, "add_bos_token": False})
    ids = tokenizer.encode(" " * 9, add_special_tokens=True)

    assert [tokenizer.token(i) for i in ids] == ["▁" * 8, "▁"]
    assert merges_by_score(["a", "aa", "aaa"], [0, 0, 0]) == [("aa", "a"), ("a", "aa"), ("a", "a")]


def test_a_vocabulary_says_what_is_around_texts_and_which_tokens_have_names() -> None:
    """Flags and ids of the file count before what its kind would have."""
    ggml = {**byte_pairs(), "pre": "llama-bpe", "add_bos_token": False, "add_eos_token": True}
    ggml |= {"eos_token_id": 0, "padding_token_id": 2}
    tokenizer = load(ggml)

    assert tokenizer.encode("a", add_special_tokens=True)[1:] == [0]
    assert tokenizer.special_tokens == {
        "bos_token": "<|im_start|>",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|im_end|>",
    }
    assert load(sentencepiece() | {"bos_token_id": 10**6}).special_tokens["bos_token"] == "<s>"


END_CASES = {
    "a chat model's end of turn": (["<|endoftext|>", "<|im_end|>"], {"eos_token_id": 0}, {0, 1}),
    "an end of turn that is named": (["<a>", "<b>", "<c>"], {"eos_token_id": 0, "eot_token_id": 2}, {0, 2}),
    "a message to a tool": (["<|eot_id|>", "<|eom_id|>", "x"], {"eos_token_id": 0}, {0, 1}),
    "gpt-oss's end of a part": (["<|end|>", "<|return|>", "<|call|>"], {"eos_token_id": 1}, {1, 2}),
    "an end that is no such part": (["<|end|>", "<|return|>"], {"eos_token_id": 1}, {0, 1}),
    "gemma 4's strike-through": (["</s>", "<turn|>", "<|tool_response>"], {"eos_token_id": 1}, {1, 2}),
    "code models' files": (["<reponame>", "<file_sep>", "<fim_pad>"], {}, {0, 2}),
    "nothing": (["a", "b"], {}, set()),
}


@pytest.mark.parametrize(("tokens", "ids", "ends"), END_CASES.values(), ids=END_CASES)
def test_ends_are_known_by_their_text(tokens: list[str], ids: dict[str, int], ends: set[int]) -> None:
    """As in llama.cpp, even where the file names none or marks it as ordinary."""
    tokenizer = load({"model": "gpt2", "pre": "gpt-2", "tokens": tokens, "merges": [], **ids})

    assert ends == tokenizer.eos_ids
    assert ends & {tokens.index(t) for t in tokens if t[0] == "<"} <= tokenizer.special_ids | set(
        ids.values()
    )


def test_special_tokens_in_any_script_are_found_in_texts() -> None:
    """DeepSeek's are written with full-width bars, which no byte is spelled with."""
    tokens = ["h", "i", "<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"]
    ggml = {"model": "gpt2", "pre": "deepseek-r1-qwen", "tokens": tokens, "merges": []}
    tokenizer = load({**ggml, "token_type": [1, 1, 4, 3, 3]})
    ids = tokenizer.encode("<｜User｜>hi<｜Assistant｜>", add_special_tokens=True)

    assert ids == [2, 0, 1, 3]
    assert tokenizer.token_bytes(2).decode() == "<｜User｜>"
    assert tokenizer.special_ids == tokenizer.eos_ids | {3}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown split": ({"pre": "of-tomorrow"}, "pre is 'of-tomorrow'"),
    "an encoder's": ({"model": "bert"}, "embedding models have; they are served from folders"),
    "an encoder's split": ({"pre": "mmbert"}, "embedding models have; they are served from folders"),
    "another kind": ({"model": "rwkv"}, "of the kind 'rwkv', which is not supported"),
    "no tokens": ({"tokens": []}, "holds no tokenizer"),
    "no merges": ({"merges": None}, "has no tokenizer.ggml.merges"),
    "one token twice": ({"tokens": ["a", "b", "a"]}, "has the token 'a' twice, as 0 and 2"),
    "too few types": ({"token_type": [1]}, "has 2 tokens, and a tokenizer.ggml.token_type of 1"),
    "types that are none": ({"token_type": ["x", "y"]}, "token_type that is no list of numbers"),
    "tokens that are none": ({"tokens": [1, 2]}, "tokens that is no list of texts"),
    "a begin token that is not named": ({"add_bos_token": True}, "asks for a bos token"),
}


@pytest.mark.parametrize(("changed", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused(changed: dict[str, Any], words: str) -> None:
    """In words that say what it is."""
    ggml = {"model": "gpt2", "pre": "gpt-2", "tokens": ["a", "b"], "merges": []}

    with pytest.raises(ValueError, match=words) as caught:
        load(ggml | changed)
    assert not str(caught.value).endswith(".")


def test_a_file_that_names_no_split_is_read_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """As llama.cpp reads files from before there were names."""
    with caplog.at_level(logging.WARNING):
        load({"model": "gpt2", "tokens": ["a"], "merges": []})

    assert "does not say how its tokenizer splits words" in caplog.text
