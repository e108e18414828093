"""A model's tokens as llguidance wants them."""

from dataclasses import dataclass

from llguidance import LLTokenizer, TokenizerWrapper

from inferloom_worker.text.tokenizer import Tokenizer

_SAMPLES = ('{"name": "value", "list": [1, 2.5, true]}', "The quick brown fox, and Grüße aus Köln.")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A tokenizer for grammars."""

    tokens: LLTokenizer
    canonical: bool
    """Whether it is known which tokens a text becomes in the midst of another."""
    ends: frozenset[int]
    """The tokens with which the model ends a text."""
    width: int
    """Logits of the model."""


def vocabulary(tokenizer: Tokenizer, width: int) -> Vocabulary:
    """The tokens of ``tokenizer`` for a model with ``width`` logits. Takes tenths of a second.

    The library reads byte-level and SentencePiece vocabularies by itself. Where it reads one otherwise than
    :class:`Tokenizer` does, or the model has no end token, it is given the bytes of each token.
    """
    ends = sorted(i for i in tokenizer.eos_ids if i < width)
    if ends and tokenizer.vocab_size <= width and (own := _own(tokenizer, width, ends)) is not None:
        return Vocabulary(own, own.is_canonical and _agree(own, tokenizer), frozenset(ends), width)
    # Without an end token there is one that no logit has: the grammar allows it where the text may end.
    spelled = _Spelled(tokenizer, width, ends[0] if ends else width)
    return Vocabulary(LLTokenizer(spelled, eos_token=ends or [width]), False, frozenset(ends), width)


def _own(tokenizer: Tokenizer, width: int, ends: list[int]) -> LLTokenizer | None:
    """As the library reads the tokenizer's file; None where it cannot, or finds other bytes in the tokens."""
    try:
        tokens = LLTokenizer(tokenizer.serialized(), n_vocab=width, eos_token=ends)
    except ValueError:
        return None
    special = _special(tokenizer)
    same = all(
        tokens.is_special_token(i) if i in special else tokens.decode_bytes([i]) == tokenizer.token_bytes(i)
        for i in range(tokenizer.vocab_size)
        if tokenizer.token(i) is not None
    )
    return tokens if same else None


def _agree(tokens: LLTokenizer, tokenizer: Tokenizer) -> bool:
    return all(
        tokens.tokenize_str(text) == tokenizer.encode(text, add_special_tokens=False) for text in _SAMPLES
    )


def _special(tokenizer: Tokenizer) -> frozenset[int]:
    """The tokens that no text consists of. The library adds those that are spelled like a tag: markers of
    reasoning and tool calls, say."""
    texts = ((i, token.content) for i, token in tokenizer.added_tokens.items())
    return tokenizer.special_ids | {i for i, text in texts if text.startswith("<") and text.endswith(">")}


class _Spelled(TokenizerWrapper):
    """A vocabulary token by token."""

    def __init__(self, tokenizer: Tokenizer, width: int, end: int) -> None:
        special = _special(tokenizer)
        self.tokens = [tokenizer.token_bytes(i) for i in range(width)]
        self.eos_token_id = end
        self.bos_token_id = None
        self.special_token_ids = sorted(i for i in special if i < width)
        if end == width:
            self.tokens.append(b"<|no end|>")
            self.special_token_ids.append(end)
        self.is_tokenizer_wrapper = True
        self._tokenizer = tokenizer

    def __call__(self, s: str) -> list[int]:
        return self._tokenizer.encode(s, add_special_tokens=False)
