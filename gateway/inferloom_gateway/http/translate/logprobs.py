"""Log-probabilities in OpenAI's two shapes. Tokens that have no text in the answer are in neither."""

import codecs
from collections.abc import Iterable

from inferloom.v1.inference_pb2 import TokenLogprob, TopLogprob

LEAST = -9999.0
"""Stands for minus infinity, which JSON does not have; OpenAI uses the same number."""


def chat_logprobs(tokens: Iterable[TokenLogprob]) -> dict[str, object]:
    """The ``logprobs`` of a chat choice, or of one chunk of it."""
    return {
        "content": [
            {**_entry(token), "top_logprobs": [_entry(alternative) for alternative in token.top]}
            for token in tokens
            if not token.no_text
        ],
        "refusal": None,
    }


class TextLogprobs:
    """Makes the ``logprobs`` of a text choice, at once or chunk by chunk.

    Args:
        offset: Characters of the text before the choice's first token.
    """

    def __init__(self, offset: int) -> None:
        self._offset = offset
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")

    def of(self, tokens: Iterable[TokenLogprob]) -> dict[str, object]:
        """The ``logprobs`` of the next tokens.

        A token's offset is that of the character that it begins or goes on with.
        """
        shown = [token for token in tokens if not token.no_text]
        offsets = []
        for token in shown:
            offsets.append(self._offset)
            self._offset += len(self._bytes.decode(token.token_bytes))
        return {
            "tokens": [_spelled(token) for token in shown],
            "token_logprobs": [_finite(token.logprob) for token in shown],
            "top_logprobs": [_alternatives(token) for token in shown],
            "text_offset": offsets,
        }


def _alternatives(token: TokenLogprob) -> dict[str, float]:
    """The likeliest tokens, and the token itself where it is none of them, each under a key of its own."""
    found: dict[str, float] = {}
    ids: set[int] = set()
    alternatives: list[TokenLogprob | TopLogprob] = [*token.top, token]
    for each in alternatives:
        if each.token_id in ids:
            continue
        ids.add(each.token_id)
        key = _spelled(each)
        if key in found:  # two tokens of one text
            key = f"token_id:{each.token_id}"
        found[key] = _finite(each.logprob)
    return found


def _spelled(token: TokenLogprob | TopLogprob) -> str:
    """A token as text; as ``bytes:\\xf0\\x9f`` if its bytes are no whole characters."""
    try:
        return token.token_bytes.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(map(_escaped, token.token_bytes))


def _escaped(byte: int) -> str:
    return chr(byte) if 0x20 <= byte < 0x7F and byte != ord("\\") else f"\\x{byte:02x}"


def _entry(token: TokenLogprob | TopLogprob) -> dict[str, object]:
    return {"token": token.token, "logprob": _finite(token.logprob), "bytes": list(token.token_bytes)}


def _finite(logprob: float) -> float:
    return max(logprob, LEAST)
