"""Which tokens of a GGUF file are special, and which end a completion.

Many files do not say, or say it wrong: a chat model's end of turn is missing, or marked as an ordinary token.
llama.cpp goes by how a token is spelled; these are its lists.
"""

from collections.abc import Mapping
from enum import IntEnum


class TokenType(IntEnum):
    """The numbers of ``tokenizer.ggml.token_type``."""

    UNDEFINED = 0
    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


SPECIAL = frozenset({TokenType.CONTROL, TokenType.USER_DEFINED, TokenType.UNKNOWN})
"""Types that are found in a text before anything else is."""

_ENDS = (
    *("<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>"),
    *("<end_of_turn>", "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]"),
    *("<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>", "[e~["),
    "<｜end▁of▁sentence｜>",
)
# Of code models, for text that is put in: none of them can go on after one of these.
_FILLING_ENDS = {
    "fim_pad": ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
    "fim_rep": ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
    "fim_sep": ("<|file_sep|>",),
}
_FILLING = {
    "fim_pre": (
        *("<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>"),
        *("<|code_prefix|>", "<|prefix|>"),
    ),
    "fim_suf": (
        *("<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>"),
        *("<|code_suffix|>", "<|suffix|>"),
    ),
    "fim_mid": (
        *("<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>"),
        *("<|code_middle|>", "<|middle|>"),
    ),
}
_SHOWN = ("<|channel|>", "<|message|>", "<|start|>", "<|constrain|>")
"""Parts of gpt-oss's answers that are read from their text."""


def end_tokens(ids: Mapping[str, int], types: list[TokenType], named: Mapping[str, int]) -> frozenset[int]:
    """The tokens that end a completion.

    Args:
        ids: By text.
        types: By id. Corrected where a token's text says more than its type.
        named: Tokens that the file names, such as ``eos``.
    """
    ends = set()
    for key, spellings in (_FILLING | _FILLING_ENDS).items():
        found = named.get(key)
        if found is None:
            found = next((ids[text] for text in spellings if text in ids), None)
            if found is not None:
                types[found] = TokenType.CONTROL
        if found is not None and key in _FILLING_ENDS:
            ends.add(found)
    for text in _ENDS:
        if text in ids:
            ends.add(ids[text])
            types[ids[text]] = TokenType.CONTROL
    for text in _SHOWN:
        if text in ids:
            types[ids[text]] = TokenType.USER_DEFINED
    ends.update(named[key] for key in ("eos", "eot", "eom") if key in named)
    _keep_end_of_part(ids, types, ends)
    return frozenset(ends)


def _keep_end_of_part(ids: Mapping[str, int], types: list[TokenType], ends: set[int]) -> None:
    """Take out what ends only a part of an answer, or nothing, in a few families."""
    spelled = {text for text in ("<|return|>", "<|call|>", "<|calls|>", "<|flush|>") if ids.get(text) in ends}
    calls = spelled & {"<|call|>", "<|calls|>"}
    if ids.get("<|end|>") in ends and calls and spelled & {"<|return|>", "<|flush|>"}:
        ends.remove(ids["<|end|>"])
        types[ids["<|end|>"]] = TokenType.USER_DEFINED
    markers = ("<|tool_response>", "<|plamo:eos|>")
    if ids.get("</s>") in ends and any(ids.get(text) in ends for text in markers):
        ends.remove(ids["</s>"])
        types[ids["</s>"]] = TokenType.NORMAL
