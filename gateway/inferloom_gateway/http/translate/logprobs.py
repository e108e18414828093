"""Log-probabilities in OpenAI's two shapes. Tokens that have no text in the answer are in neither."""

import codecs
from collections.abc import Iterable, Sequence
from typing import Any

from inferloom.v1.inference_pb2 import TokenLogprob, TopLogprob

LEAST = -9999.0
"""Stands for minus infinity, which JSON does not have; OpenAI uses the same number."""


def chat_logprobs(tokens: Iterable[TokenLogprob], *, as_ids: bool = False) -> dict[str, object]:
    """The ``logprobs`` of a chat choice, or of one chunk of it; tokens are ``token_id:5`` with ``as_ids``."""
    return {
        "content": [
            {
                **_entry(token, as_ids),
                "top_logprobs": [_entry(alternative, as_ids) for alternative in token.top],
            }
            for token in tokens
            if not token.no_text
        ],
        "refusal": None,
    }


def prompt_logprobs(tokens: Sequence[TokenLogprob], top: int) -> list[dict[str, object] | None]:
    """vLLM's shape: at each place of the prompt but the first, by token id, the token itself and the ``top``
    likeliest ones."""
    entries: list[dict[str, object] | None] = [None] * bool(tokens)
    for token in tokens[1:]:
        here: dict[str, object] = {str(token.token_id): _ranked(token, token.rank)}
        for rank, each in enumerate(token.top[:top], 1):
            here.setdefault(str(each.token_id), _ranked(each, rank))
        entries.append(here)
    return entries


def _ranked(token: TokenLogprob | TopLogprob, rank: int) -> dict[str, object]:
    return {"logprob": _finite(token.logprob), "rank": rank, "decoded_token": token.token}


def mean_logprob(tokens: Sequence[TokenLogprob]) -> float:
    """How likely a choice is by its tokens, all of them; 0 for none."""
    return sum(token.logprob for token in tokens) / max(1, len(tokens))


class TextLogprobs:
    """Makes the ``logprobs`` of a text choice, at once or chunk by chunk.

    Args:
        offset: Characters of the text before the choice's first token.
        top: Alternatives of each token. None: all that came.
        every: Whether tokens without text are shown too, as with a prompt, so that there is an entry for each
            token that was read or generated.
        as_ids: Whether tokens are ``token_id:5`` and not their text.
    """

    def __init__(
        self, offset: int, *, top: int | None = None, every: bool = False, as_ids: bool = False
    ) -> None:
        self._offset = offset
        self._top = top
        self._every = every
        self._as_ids = as_ids
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")

    def of(self, tokens: Iterable[TokenLogprob]) -> dict[str, list[Any]]:
        """The ``logprobs`` of the next tokens.

        A token's offset is that of the character that it begins or goes on with.
        """
        shown = [token for token in tokens if self._every or not token.no_text]
        offsets = []
        for token in shown:
            offsets.append(max(0, self._offset))
            if not token.no_text:
                self._offset += len(self._bytes.decode(token.token_bytes))
        return {
            "tokens": [_spelled(token, self._as_ids) for token in shown],
            "token_logprobs": [_finite(token.logprob) for token in shown],
            "top_logprobs": [_alternatives(token, self._top, self._as_ids) for token in shown],
            "text_offset": offsets,
        }

    def of_prompt(self, tokens: Sequence[TokenLogprob], text: str) -> dict[str, list[Any]]:
        """The ``logprobs`` of a prompt that is repeated as ``text``, before any others. Its first token has
        none. Tokens and text end together; where a tokenizer changes texts they may not begin together."""
        length = len(
            b"".join(token.token_bytes for token in tokens if not token.no_text).decode(errors="replace")
        )
        self._offset = len(text) - length
        found = self.of(tokens)
        if tokens:
            found["token_logprobs"][0] = found["top_logprobs"][0] = None
        self._offset = len(text)
        self._bytes.reset()
        return found


def _alternatives(token: TokenLogprob, top: int | None, as_ids: bool) -> dict[str, float]:
    """The likeliest tokens, and the token itself where it is none of them, each under a key of its own."""
    found: dict[str, float] = {}
    known: set[int | bytes] = set()
    alternatives: list[TokenLogprob | TopLogprob] = [*token.top[:top], token]
    for each in alternatives:
        itself = each.token_id or each.token_bytes  # a server beside a worker may not tell ids
        if itself in known:
            continue
        known.add(itself)
        key = _spelled(each, as_ids)
        if key in found:  # two tokens of one text
            key = f"token_id:{each.token_id}"
        found[key] = _finite(each.logprob)
    return found


def _spelled(token: TokenLogprob | TopLogprob, as_ids: bool) -> str:
    """A token as text; as ``bytes:\\xf0\\x9f`` if its bytes are no whole characters."""
    if as_ids:
        return f"token_id:{token.token_id}"
    try:
        return token.token_bytes.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(map(_escaped, token.token_bytes))


def _escaped(byte: int) -> str:
    return chr(byte) if 0x20 <= byte < 0x7F and byte != ord("\\") else f"\\x{byte:02x}"


def _entry(token: TokenLogprob | TopLogprob, as_ids: bool) -> dict[str, object]:
    shown = f"token_id:{token.token_id}" if as_ids else token.token
    return {"token": shown, "logprob": _finite(token.logprob), "bytes": list(token.token_bytes)}


def _finite(logprob: float) -> float:
    return max(logprob, LEAST)
