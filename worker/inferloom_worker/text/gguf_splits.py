"""How byte-pair vocabularies of GGUF files split a text before merging.

A GGUF file has only a name for it, ``tokenizer.ggml.pre``. What each name means is llama.cpp's to say
(``src/llama-vocab.cpp`` and ``src/unicode.cpp`` there); it is written down here as regular expressions of
Oniguruma. Each divides the pieces that the one before it left, and what it does not match stays a piece.
Where llama.cpp departs from the tokenizer that a model was trained with, these do as llama.cpp.
"""

from dataclasses import dataclass

_CONTRACTIONS = "'(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_LLAMA3 = rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}{{1,3}}|{_SIGNS}|{_SPACES}"
_QWEN2 = rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}|{_SIGNS}|{_SPACES}"
_BLOOM = r" ?[^(\s|.,!?…。，、।۔،)]+"
_LINES = r"[^\n]+|[\n]+"


def _cased(letter: str, ending: str) -> str:
    """A word in which a capital after a small letter begins another. Only ASCII letters have a case here."""
    large, small = rf"[{letter}&&[^a-z]]", rf"[{letter}&&[^A-Z]]"
    before = r"[^\r\n\p{L}\p{N}]?"
    return f"{before}{large}*{small}+{ending}|{before}{large}+{small}*{ending}"


_CODE_SIGNS = rf" ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}"
_TEKKEN = _cased(r"\p{L}", "") + rf"|\p{{N}}|{_CODE_SIGNS}"
_GPT4O = _cased(r"\p{L}", f"(?:{_CONTRACTIONS})?") + rf"|\p{{N}}{{1,3}}|{_CODE_SIGNS}"
_GRANITE = _cased(r"\p{L}\p{M}", f"(?:{_CONTRACTIONS})?") + rf"|\p{{N}}{{1,3}}|{_CODE_SIGNS}"
_MARKED = rf"[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+(?:{_CONTRACTIONS})?"

# Digits in threes from the right. What stands before them goes with the first of them.
_THREES = r"\P{N}*\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))"

_ASCII_SIGNS = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"
_DEEPSEEK_WORDS = (
    rf"{_ASCII_SIGNS}|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_SPACES}"
)
_KANA = "[一-龥\u3040-ゟ゠-ヿ]+"
_CJK = r"[一-龥ࠀ-一가-\x{D7FF}&&[^\s]]+"
_CASED_LETTERS = (
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝ"
    "Ὗ-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤ"
    "Ⳬ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
)
_HAN = (
    r"\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2B73F}\x{2B740}-\x{2B81F}"
    r"\x{2B820}-\x{2CEAF}\x{2CEB0}-\x{2EBEF}\x{F900}-\x{FAFF}\x{2F800}-\x{2FA1F}"
)
_ASIAN = (
    "[一-\u9fff㐀-䶿豈-\ufaff\u3040-ゟ゠-ヿ･-ﾟ⼀-\u2fdf"
    "เ-\u0e7f\u0e80-\u0effក-\u17ffက-႟ꩠ-ꩿꧠ-\ua9ff가-\ud7afᄀ-ᇿ]+"
)


@dataclass(frozen=True, slots=True)
class Split:
    """What a name of ``tokenizer.ggml.pre`` stands for."""

    patterns: tuple[str, ...]
    whole_words: bool = False
    """Whether a piece that is a token is that token, whatever its merges would give."""
    add_bos: bool = False
    """Whether a text begins with the begin token, where the file does not say."""
    spelled: bool = False
    """Whether the vocabulary spells characters, and spaces as U+2581, instead of bytes."""


DEFAULT = Split((r"[\p{P}$+<=>^~|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]"))
"""For files that name none."""

_DIGITS_ALONE = Split((r"\p{N}", _GPT2))
_GPT2_ONLY = Split((_GPT2,))
_DEEPSEEK3 = Split((r"\p{N}{1,3}", _KANA, _DEEPSEEK_WORDS))
_BAILING = Split(
    (rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}|{_SIGNS}|\s*[\r\n]|\s+(?!\S)|\s+",),
)
_FEW_SPACES = "|".join(rf"\s{{{n}}}(?!\S)" for n in ("512", "256", "128", "64", "32", "16", "8", "4", "1,2"))

_KINDS: tuple[tuple[Split, tuple[str, ...]], ...] = (
    (DEFAULT, ("default",)),
    (
        Split((_LLAMA3,), whole_words=True, add_bos=True),
        (
            *("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"),
            "jina-v5-nano",
        ),
    ),
    (Split((_LLAMA3,)), ("dbrx", "smaug-bpe", "chatglm-bpe")),
    (Split((_LLAMA3,), whole_words=True), ("glm4", "glm5")),
    (
        Split((rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}{{1,3}}|{_SIGNS}|\s*[\r\n]+|{_FEW_SPACES}|\s",)),
        ("jais-2",),
    ),
    (
        Split((r"\p{N}{1,3}", rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}+|{_SIGNS}|{_SPACES}"), whole_words=True),
        ("minicpm5",),
    ),
    (
        Split(
            (
                r"[\r\n]",
                rf"\s?[{_CASED_LETTERS}]+",
                r"\s?[!-/:-~！-／：-～‘-‟、。]+",
                r"\s+\z",
                _CJK,
                r"\p{N}+",
            )
        ),
        ("deepseek-llm",),
    ),
    (Split((r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _CJK, r"\p{N}")), ("deepseek-coder",)),
    (_DEEPSEEK3, ("deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4")),
    (
        Split(
            (
                r"\p{N}{1,3}",
                _KANA,
                rf"{_ASCII_SIGNS}|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+| ?[\p{{P}}\p{{S}}]+|[\r\n]"
                r"|\s+(?!\S)|\s+",
                r"\p{N}",
            )
        ),
        ("spark2_5",),
    ),
    (
        Split(
            (
                f"[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|{_KANA}",
                rf"{_MARKED}|\p{{N}}|{_CODE_SIGNS}",
            ),
            whole_words=True,
        ),
        ("youtu",),
    ),
    (Split((r"[\p{P}$+<=>^~|`]+", _GPT2, "[0-9][0-9][0-9]")), ("falcon",)),
    (
        _DIGITS_ALONE,
        (*("starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"),),
    ),
    (
        _GPT2_ONLY,
        (
            *("gpt-2", "phi-2", "jina-es", "jina-de", "gigachat", "jina-v2-es", "jina-v2-de", "a.x-4.0"),
            *("mellum", "modern-bert", "jina-v1-en", "jina-v2-code", "roberta-bpe", "mpt", "olmo", "jais"),
            *("trillion", "granite-docling", "exaone4"),
        ),
    ),
    (
        Split((_QWEN2,)),
        (
            *("qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan", "grok-2"),
            "solar-open",
        ),
    ),
    (
        Split(
            (
                rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
                rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_SPACES}",
            )
        ),
        ("qwen35",),
    ),
    (Split((rf"{_WORD}|\p{{N}}|{_SIGNS}|{_SPACES}",)), ("ufakzeka",)),
    (Split((_LINES, _QWEN2)), ("laguna",)),
    (Split((_BLOOM,)), ("poro-chat", "bloom", "gpt3-finnish")),
    (Split((_BLOOM, r"\p{N}")), ("viking",)),
    (Split((_TEKKEN,), whole_words=True, add_bos=True), ("tekken",)),
    (
        Split(
            (
                "<sentinel:[0-9]+>",
                "IMGIMG[A-I]{1,4}Z",
                r"[\t\n]|    |  ",
                r"\p{N}",
                r"[\p{P}!-/:-@\[-`{-~]",
                _GPT2,
            ),
            add_bos=True,
        ),
        ("chameleon",),
    ),
    (Split((_GPT4O,)), ("gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2")),
    (Split((_GRANITE,), whole_words=True), ("granite-embed-multi-97m",)),
    (Split((_THREES, rf"{_MARKED}|\p{{N}}{{1,3}}|{_CODE_SIGNS}")), ("tiny_aya", "cohere2moe")),
    (
        Split(
            (
                rf"[{_HAN}]+|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}&&[^{_HAN}]]+(?:{_CONTRACTIONS})?"
                rf"|\p{{N}}{{1,3}}|{_SIGNS}|{_SPACES}",
            )
        ),
        ("kimi-k2",),
    ),
    (Split((r"\p{N}+", "(?=(?:[0-9]{3})+(?![0-9]))")), ("superbpe",)),
    (_BAILING, ("bailingmoe", "bailingmoe2", "llada-moe")),
    (
        Split((rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{_SPACES}",)),
        ("seed-coder",),
    ),
    (Split((_THREES, _ASIAN, _DEEPSEEK_WORDS)), ("afmoe",)),
    (
        Split(
            (
                rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?(?:\p{{L}}\p{{M}}*(?: \p{{L}}\p{{M}}*)*)+|\p{{N}}"
                r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+",
            )
        ),
        ("exaone-moe",),
    ),
    # A run of line breaks is one token where there is such a token; other words have merges to themselves.
    (
        Split((_LINES,), whole_words=True, add_bos=True, spelled=True),
        ("gemma4", "granite-embed-multi-311m"),
    ),
    (Split((_LINES,), spelled=True), ("sarvam-moe",)),
)

SPLITS = {name: split for split, names in _KINDS for name in names}
"""By name of ``tokenizer.ggml.pre``."""
