"""Tokenizers against transformers, and what is read from models' files."""

import json
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers, processors
from transformers import AutoTokenizer

from inferloom_worker.text.folder_tokenizer import load_folder_tokenizer
from inferloom_worker.text.tokenizer import Tokenizer
from tests.worker.texts import TEXTS


@pytest.fixture(scope="module")
def reference(smollm_file: Path) -> object:
    """What transformers makes of the same file."""
    return AutoTokenizer.from_pretrained(smollm_file.parent, gguf_file=smollm_file.name)


# transformers does not know this vocabulary's rule for digits; it shows on numerals that are no digits.
@pytest.mark.parametrize("text", [text for text in TEXTS if "½" not in text])
def test_gguf_ids_equal_those_of_transformers(
    text: str, smollm_tokenizer: Tokenizer, reference: object
) -> None:
    """The GGUF file's tokenizer gives transformers' token ids."""
    assert reference(text)["input_ids"] == smollm_tokenizer.encode(text, add_special_tokens=True)  # type: ignore[operator]


@pytest.mark.parametrize("text", TEXTS)
def test_a_byte_level_text_comes_back_as_it_was(text: str, smollm_tokenizer: Tokenizer) -> None:
    """Encoding and decoding is the identity, and the tokens' bytes put together are the text's."""
    ids = smollm_tokenizer.encode(text, add_special_tokens=False)

    assert text == smollm_tokenizer.decode(ids, skip_special_tokens=False)
    assert text.encode() == b"".join(map(smollm_tokenizer.token_bytes, ids))


def test_gguf_metadata_gives_special_tokens_and_template(smollm_tokenizer: Tokenizer) -> None:
    """End tokens, named special tokens and the chat template are read from the file."""
    ends = {"<|endoftext|>", "<|im_end|>", "<reponame>"}
    assert ends == {smollm_tokenizer.token(i) for i in smollm_tokenizer.eos_ids}
    assert smollm_tokenizer.special_tokens["bos_token"] == "<|im_start|>"
    assert "add_generation_prompt" in (smollm_tokenizer.chat_template or "")
    assert smollm_tokenizer.vocab_size == 49152


def _backend(*, bos: bool) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.BPE(vocab={"a": 0, "b": 1}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<s>", "</s>"])
    if bos:
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 2)]
        )
    return backend


@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize("wanted", [None, False, True])
def test_a_begin_token_is_put_once_or_not_at_all(adds: bool, wanted: bool | None) -> None:
    """The configuration's word counts, whatever the backend does by itself."""
    tokenizer = Tokenizer(_backend(bos=adds), special_tokens={"bos_token": "<s>"}, add_bos=wanted)
    expected = [2, 0] if (adds if wanted is None else wanted) else [0]

    assert expected == tokenizer.encode("a", add_special_tokens=True)
    assert tokenizer.encode("a", add_special_tokens=False) == [0]


def test_a_folder_gives_end_tokens_from_all_its_files(tmp_path: Path) -> None:
    """End tokens of the tokenizer's, the model's and the generation configuration are joined."""
    _backend(bos=False).save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps(
            {"eos_token": {"content": "</s>"}, "chat_template": [{"name": "default", "template": "T"}]}
        )
    )
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, 1]}))
    tokenizer = load_folder_tokenizer(tmp_path)

    assert frozenset({0, 1, 3}) == tokenizer.eos_ids
    assert tokenizer.chat_template == "T"
    (tmp_path / "chat_template.jinja").write_text("J")
    assert load_folder_tokenizer(tmp_path).chat_template == "J"


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_damaged_file_is_named(name: str, tmp_path: Path) -> None:
    """A file that cannot be read is a ValueError that says which."""
    _backend(bos=False).save(str(tmp_path / "tokenizer.json"))
    (tmp_path / name).write_text("{")

    with pytest.raises(ValueError, match=name):
        load_folder_tokenizer(tmp_path)


def test_padding_and_truncation_of_the_file_do_not_apply(minilm_tokenizer: Tokenizer) -> None:
    """MiniLM's file cuts at 128 tokens and pads; neither happens here."""
    assert len(minilm_tokenizer.encode("word " * 500, add_special_tokens=True)) == 502
    assert len(minilm_tokenizer.encode("word", add_special_tokens=True)) == 3


@settings(max_examples=50)
@given(text=st.text())
def test_a_text_has_no_fewer_tokens_than_foretold(text: str) -> None:
    """The bound that refuses a huge text at once never refuses one that fits."""
    tokenizer = Tokenizer(_backend(bos=False))

    assert tokenizer.fewest_tokens(text) <= max(len(text.encode()), 1)


def test_the_bound_is_close_for_a_long_text(smollm_tokenizer: Tokenizer) -> None:
    """A text of a megabyte is known to have thousands of tokens without being tokenised."""
    text = "word " * 200_000
    known = smollm_tokenizer.fewest_tokens(text)

    assert 5000 < known <= len(smollm_tokenizer.encode(text, add_special_tokens=False))


def test_a_tokenizer_gives_no_id_past_the_embeddings() -> None:
    """Added special tokens are left out, and ends that never come; anything else is refused."""
    whole = Tokenizer(_backend(bos=False), eos_ids=[1, 3, 9], special_tokens={"eos_token": "</s>"})
    limited = whole.limited(3)

    assert whole.encode("a<s></s>b", add_special_tokens=False) == [0, 2, 3, 1]
    assert limited.encode("a<s></s>b", add_special_tokens=False) == [0, 2, 1]
    assert (limited.vocab_size, limited.eos_ids) == (3, frozenset({1}))
    with pytest.raises(ValueError, match="4 tokens, and the model has embeddings for 1"):
        whole.limited(1)


def test_a_tokenizer_fits_a_model_with_more_embeddings_than_it_has_tokens() -> None:
    """Rows that no token has, as those that fill a matrix up, change nothing."""
    tokenizer = Tokenizer(_backend(bos=True), eos_ids=[3])

    assert tokenizer.limited(64) is tokenizer
    assert tokenizer.limited(4) is tokenizer


def test_a_long_run_of_spaces_may_be_no_token_at_all() -> None:
    """Where special tokens take the spaces beside them, nothing is foretold."""
    backend = _backend(bos=False)
    backend.add_special_tokens([tokenizers.AddedToken("<|end|>", special=True, rstrip=True)])
    text = "<|end|>" + " " * 100

    tokenizer = Tokenizer(backend)
    assert tokenizer.fewest_tokens(text) <= len(tokenizer.encode(text, add_special_tokens=False))
