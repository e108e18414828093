"""Incremental detokenising."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferloom_worker.output.detokenizer import ByteStream, WindowStream, text_stream
from inferloom_worker.text.bytes_tokenizer import bytes_tokenizer
from inferloom_worker.text.tokenizer import Tokenizer
from tests.worker.texts import TEXTS

BYTES = bytes_tokenizer()


def pieces(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    """What a stream gives for each token, and at the end."""
    stream = text_stream(tokenizer)
    return [*(stream.push(token) for token in ids), stream.flush()]


@given(ids=st.lists(st.integers(0, 257)))
def test_pieces_joined_equal_the_whole_decoded(ids: list[int]) -> None:
    """For any bytes, valid or not, nothing is lost, doubled or changed."""
    assert BYTES.decode(ids, skip_special_tokens=True) == "".join(pieces(BYTES, ids))


@given(text=st.text())
def test_no_piece_of_a_valid_text_is_broken(text: str) -> None:
    """Each piece is a whole number of characters, so U+FFFD comes only where the text has it."""
    given_pieces = pieces(BYTES, list(text.encode()))

    assert text.count("\ufffd") == sum(piece.count("\ufffd") for piece in given_pieces)
    assert text == "".join(given_pieces)


@pytest.mark.parametrize("text", TEXTS)
def test_a_real_vocabulary_streams_every_text(text: str, smollm_tokenizer: Tokenizer) -> None:
    """Emoji of many tokens, whitespace, code: pieces joined are the text, special tokens apart."""
    ids = smollm_tokenizer.encode(text, add_special_tokens=False)

    assert smollm_tokenizer.decode(ids, skip_special_tokens=True) == "".join(pieces(smollm_tokenizer, ids))


def test_a_character_waits_for_its_last_byte() -> None:
    """Three bytes of four give nothing; the fourth gives the character."""
    assert pieces(BYTES, list("🌍".encode())) == ["", "", "", "🌍", ""]


def test_a_character_cut_off_at_the_end_becomes_a_replacement() -> None:
    """What is incomplete when the tokens end is shown as U+FFFD, once."""
    assert pieces(BYTES, list("a🌍".encode())[:-1]) == ["a", "", "", "", "\ufffd"]


def test_a_genuine_replacement_character_is_sent_at_once() -> None:
    """U+FFFD that the model wrote is not mistaken for half a character."""
    assert pieces(BYTES, list("\ufffd".encode())) == ["", "", "\ufffd", ""]


def test_words_of_other_vocabularies_get_their_spaces(minilm_tokenizer: Tokenizer) -> None:
    """Where the decoder puts spaces between tokens, the pieces have them too."""
    ids = minilm_tokenizer.encode("Unbelievable tokenizers, really!", add_special_tokens=True)

    assert isinstance(text_stream(minilm_tokenizer), WindowStream)
    assert minilm_tokenizer.decode(ids, skip_special_tokens=True) == "".join(pieces(minilm_tokenizer, ids))


def test_unknown_tokens_have_no_text() -> None:
    """An id beyond the vocabulary, as padded models can draw, adds nothing."""
    stream = ByteStream(BYTES, BYTES.special_ids)

    assert (stream.push(100_000), stream.push(97)) == ("", "a")
