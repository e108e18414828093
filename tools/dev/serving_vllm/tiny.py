"""A model so small that what is around it shows: random weights, another model's tokenizer."""

import shutil
from pathlib import Path

HIDDEN = 128
LAYERS = 2

_TEXT = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json")


def tiny(model: Path, folder: Path) -> Path:
    """Make a Llama of random weights that reads and writes as ``model`` does.

    Args:
        model: Folder of a chat model.
        folder: Where it is made; it must not be there yet.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig

    given = AutoConfig.from_pretrained(model)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=given.vocab_size,
        hidden_size=HIDDEN,
        intermediate_size=2 * HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=HIDDEN // 2,
        max_position_embeddings=given.max_position_embeddings,
        bos_token_id=given.bos_token_id,
        eos_token_id=given.eos_token_id,
        tie_word_embeddings=True,
    )
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    for name in _TEXT:
        if (model / name).exists():
            shutil.copy(model / name, folder / name)
    return folder
