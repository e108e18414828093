"""A tokenizer without a model: one token for each byte, and two to mark turns."""

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from inferloom_worker.text.tokenizer import Tokenizer, byte_alphabet

END = "<|end|>"
TURN = "<|turn|>"
_TEMPLATE = (
    "{% for message in messages %}<|turn|>{{ message.role }}\n{{ message.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)


def bytes_tokenizer() -> Tokenizer:
    """Make it: ids 0 to 255 are the bytes, 256 is :data:`END` (which ends a completion), 257 :data:`TURN`."""
    backend = tokenizers.Tokenizer(models.BPE(vocab=dict(byte_alphabet()), merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in (END, TURN)])
    return Tokenizer(
        backend,
        eos_ids=[256],
        special_tokens={"eos_token": END},
        chat_template=_TEMPLATE,
    )
