"""From an input to the tokens that an embedding model reads."""

from inferloom_worker.text.tokenizer import Tokenizer
from inferloom_worker.validate.embed import input_too_long


class Reader:
    """Tokenises the inputs of one model. Callable from any thread.

    Args:
        tokenizer: The model's.
        max_tokens: Most tokens of one input, special tokens included.
        prompt: Text that the model wants before every text.
    """

    def __init__(self, tokenizer: Tokenizer, max_tokens: int, prompt: str = "") -> None:
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.prompt = prompt
        self._closing = _closing_tokens(tokenizer)

    def read(self, param: str, item: str | list[int], *, truncate: bool) -> list[int]:
        """The tokens that the model will read for an input: token ids as they are, text with the model's
        prompt before it and its special tokens around it. Blocking.

        Raises:
            InferloomError: CONTEXT_LENGTH_EXCEEDED at ``param``: the input is too long, and not to be cut.
        """
        ids = item if isinstance(item, list) else self.tokens(item)
        if len(ids) <= self.max_tokens:
            return ids
        if truncate:
            return self.shorten(ids, special=not isinstance(item, list))
        raise input_too_long(param, len(ids), self.max_tokens)

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text, however many."""
        return self.tokenizer.encode(self.prompt + text, add_special_tokens=True)

    def shorten(self, ids: list[int], *, special: bool, most: int | None = None) -> list[int]:
        """Cut to ``most`` tokens, or to the most that the model reads; with ``special``, the closing special
        tokens stay."""
        most = self.max_tokens if most is None else most
        keep = min(self._closing, most) if special else 0
        return ids[: most - keep] + ids[len(ids) - keep :] if len(ids) > most else ids


def _closing_tokens(tokenizer: Tokenizer) -> int:
    """How many special tokens the tokenizer puts after a text."""
    ids = tokenizer.encode("a", add_special_tokens=True)
    count = 0
    while count < len(ids) and ids[-1 - count] in tokenizer.special_ids:
        count += 1
    return count
