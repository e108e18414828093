"""A model's tokens as llguidance wants them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llguidance import LLTokenizer, TokenizerWrapper

from inferloom_worker.text.tokenizer import Tokenizer

NO_END = "<|no end|>"

_SAMPLES = ('{"name": "value", "list": [1, 2.5, true]}', "The quick brown fox, and Grüße aus Köln.")


Maker = tuple[Callable[..., LLTokenizer], tuple[Any, ...]]
"""What makes the library's vocabulary, and with which arguments: another process can do it too."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A tokenizer for grammars."""

    tokens: LLTokenizer
    maker: Maker
    canonical: bool
    """Whether it is known which tokens a text becomes in the midst of another."""
    ends: frozenset[int]
    """The tokens with which the model ends a text."""
    width: int
    """Logits of the model."""
    phantom: int | None = None
    """The token that stands for the end where the model has none."""


def vocabulary(tokenizer: Tokenizer, width: int) -> Vocabulary:
    """The tokens of ``tokenizer`` for a model with ``width`` logits. Takes tenths of a second.

    The library reads byte-level and SentencePiece vocabularies by itself. Where it reads one otherwise than
    :class:`Tokenizer` does, it is given the bytes of each token. A model without an end token is given one
    past its tokens, which stands for the place where a text may end and is never drawn.
    """
    ends = sorted(i for i in tokenizer.eos_ids if i < width)
    size = tokenizer.vocab_size
    phantom = None if ends else size
    text = tokenizer.serialized() if phantom is None else _with_end(tokenizer.serialized(), size)
    maker: Maker = (from_file, (text, max(width, size + (phantom is not None)), ends or [size]))
    if (own := _own(maker, tokenizer)) is not None:
        canonical = own.is_canonical and _agree(own, tokenizer)
        return Vocabulary(own, maker, canonical, frozenset(ends), width, phantom)
    spelled = [tokenizer.token_bytes(i) for i in range(max(width, size))]
    special = sorted(i for i in _special(tokenizer) if i < width)
    if phantom is not None:
        spelled[size : size + 1] = [NO_END.encode()]
        special.append(size)
    maker = (from_bytes, (spelled, special, ends or [size]))
    return Vocabulary(from_bytes(*maker[1]), maker, False, frozenset(ends), width, phantom)


def from_file(text: str, width: int, ends: list[int]) -> LLTokenizer:
    """A vocabulary as the library reads it from the text of a ``tokenizer.json``."""
    return LLTokenizer(text, n_vocab=width, eos_token=ends)


def from_bytes(spelled: list[bytes], special: list[int], ends: list[int]) -> LLTokenizer:
    """A vocabulary token by token."""
    return LLTokenizer(_Spelled(spelled, special, ends[0]), eos_token=ends)


def _with_end(text: str, number: int) -> str:
    """A ``tokenizer.json`` with one special token more."""
    parts = json.loads(text)
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    parts["added_tokens"].append({"id": number, "content": NO_END, "special": True, **flags})
    return json.dumps(parts)


def _own(maker: Maker, tokenizer: Tokenizer) -> LLTokenizer | None:
    """As the library reads the tokenizer's file; None where it cannot, or finds other bytes in the tokens."""
    make, arguments = maker
    try:
        tokens = make(*arguments)
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
    """What the library asks of a vocabulary that it does not read by itself."""

    def __init__(self, spelled: list[bytes], special: list[int], end: int) -> None:
        self.tokens = spelled
        self.eos_token_id = end
        self.bos_token_id = None
        self.special_token_ids = special
        self.is_tokenizer_wrapper = True
        hidden = {*special, end}
        self._ids = {data: i for i, data in enumerate(spelled) if data and i not in hidden}
        self._longest = max(map(len, self._ids), default=0)

    def __call__(self, s: str) -> list[int]:
        """Some tokens of a text, the longest first; of bytes that no token begins with, none."""
        data, ids, at = s.encode(), list[int](), 0
        while at < len(data):
            size = next((n for n in range(self._longest, 0, -1) if data[at : at + n] in self._ids), 0)
            if not size:
                break
            ids.append(self._ids[data[at : at + size]])
            at += size
        return ids
