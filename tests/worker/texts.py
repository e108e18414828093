"""Texts that tokenizers trip over."""

TEXTS = (
    "What is the capital of France?",
    "In 1984 there were 3.14159 apples, 1,234,567 pears and 007 spies",
    "naïve café, Ελληνικά, русский, 日本語のテキスト, العربية, עברית",
    "👩‍👩‍👧‍👦 and 🤷🏽‍♀️ and 🇫🇷, then a lone \ufffd and a zero \u200b width",
    "   leading,   inner \t\t tabs \n\n\n lines and trailing   ",
    "def f(x: int) -> str:\n    return f'{x!r}'  # comment\n\n\tif x >= 0x1F: pass\n",
    "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n",
    "a\0b \x07 \x1b[0m",
    "[" * 300 + "]" * 300,
    "ﬁﬀ ½ ² Ⅷ 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 e\u0301",
)
