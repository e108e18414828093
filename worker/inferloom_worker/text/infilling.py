"""Prompts with a text before and one after the completion, for models that learned to fill in the middle.

Bavarian et al., "Efficient Training of Language Models to Fill in the Middle" (2022). Each family has marks
of its own, which its tokenizer tells, and one order of the two texts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from inferloom_worker.text.tokenizer import Tokenizer

_MARKS: tuple[tuple[str, str, str], ...] = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen, CodeGemma
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder, Granite
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),  # SantaCoder
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),  # CodeLlama
    ("<PRE>", "<SUF>", "<MID>"),
    ("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),  # GLM
)
"""Marks before the first text, before the second and after it."""

_SUFFIX_FIRST = ("[SUFFIX]", "[PREFIX]")
"""Codestral reads what comes after the completion first."""

_ENDS = ("▁<EOT>", "<EOT>", "<|fim_pad|>", "<fim_pad>", "<fim-pad>", "<|file_sep|>", "<|file_separator|>")
"""Tokens that end what was filled in, besides those that end any completion."""


@dataclass(frozen=True, slots=True)
class Infilling:
    """How a model reads such prompts.

    ``marks`` are the tokens before the first text, before the second, and after it, if there is one.
    """

    marks: tuple[int, ...]
    suffix_first: bool
    ends: frozenset[int]

    def ids(self, tokenizer: Tokenizer, prefix: str, suffix: str) -> list[int]:
        """The tokens of a prompt: what was said before the completion and what comes after it."""
        before = tokenizer.encode(prefix, add_special_tokens=False)
        after = _going_on(tokenizer, suffix)
        first, second = (after, before) if self.suffix_first else (before, after)
        bos = tokenizer.bos_id
        begins = bos is not None and tokenizer.encode("", add_special_tokens=True)[:1] == [bos]
        lead = [bos] if bos is not None and begins else []
        return [*lead, self.marks[0], *first, self.marks[1], *second, *self.marks[2:]]


def infilling(tokenizer: Tokenizer, named: Mapping[str, int] | None = None) -> Infilling | None:
    """How the tokenizer's model fills in; None: it has no marks for it.

    Args:
        tokenizer: Knows the marks' spellings.
        named: Tokens that a GGUF file names: ``fim_pre``, ``fim_suf`` and ``fim_mid``.
    """
    ends = frozenset(found for text in _ENDS if (found := tokenizer.token_id(text)) is not None)
    turned = tuple(tokenizer.token_id(text) for text in _SUFFIX_FIRST)
    if None not in turned:
        return Infilling(tuple(i for i in turned if i is not None), True, ends)
    given = tuple((named or {}).get(key) for key in ("fim_pre", "fim_suf", "fim_mid"))
    for marks in (given, *(tuple(tokenizer.token_id(text) for text in texts) for texts in _MARKS)):
        if None not in marks:
            return Infilling(tuple(i for i in marks if i is not None), False, ends)
    return None


_BESIDE = "\u263a"
"""A character that joins no other to a token."""


def _going_on(tokenizer: Tokenizer, text: str) -> list[int]:
    """The tokens of a text in the middle of a line, without the space that some tokenizers put first."""
    beside = tokenizer.encode(_BESIDE, add_special_tokens=False)
    ids = tokenizer.encode(_BESIDE + text, add_special_tokens=False)
    if tokenizer.begins_with_space and ids[: len(beside)] == beside:
        return ids[len(beside) :]
    return tokenizer.encode(text, add_special_tokens=False)
