"""Tiny configs of every model type that transformers generates text with."""

from typing import Any

from transformers import AutoConfig, PreTrainedConfig

VOCABULARY = 384
WINDOW = 8
"""Of sliding windows and chunks: shorter than the prompts."""

_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "d_model": 64,
    "n_embd": 64,
    "embedding_size": 64,
    "intermediate_size": 96,
    "ffn_hidden_size": 96,
    "ffn_dim": 96,
    "d_inner": 96,
    "n_inner": 96,
    "decoder_ffn_dim": 96,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "moe_shared_expert_intermediate_size": 32,
    "expert_ffn_hidden_size": 32,
    "intermediate_size_mlp": 96,
    "shared_intermediate_size": 32,
    "num_hidden_layers": 4,
    "n_layer": 4,
    "n_layers": 4,
    "num_layers": 4,
    "decoder_layers": 4,
    "encoder_layers": 4,  # some classes take it for the number of all layers
    "num_attention_heads": 4,
    "n_head": 4,
    "n_heads": 4,
    "num_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_kv_heads": 2,
    "multi_query_group_num": 2,
    "head_dim": 16,
    "rotary_dim": 8,
    "n_shared_experts": 1,
    "mamba_d_ssm": 128,
    "attn_layer_period": 2,
    "attn_layer_offset": 1,
    "max_position_embeddings": 256,
    "n_positions": 256,
    "n_ctx": 256,
    "max_sequence_length": 256,
    "max_seq_len": 256,
    "sliding_window": WINDOW,
    "attention_window_size": WINDOW,
    "local_attention": WINDOW,
    "window_size": WINDOW,
    "attention_chunk_size": WINDOW,
    "keep_window_size": 2,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "moe_num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_topk": 2,
    "moe_k": 2,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "kv_lora_rank": 16,
    "q_lora_rank": 24,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "qk_head_dim": 16,
    "v_head_dim": 12,
    "mamba_d_state": 8,
    "mamba_n_heads": 4,
    "mamba_d_head": 32,
    "mamba_num_heads": 4,
    "mamba_head_dim": 32,
    "mamba_n_groups": 1,
    "n_groups": 1,
    "ssm_state_size": 8,
    "state_size": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "vocab_size_per_layer_input": VOCABULARY,
    "hidden_size_per_layer_input": 8,
    "laurel_rank": 8,
    "num_kv_shared_layers": 0,
    "query_pre_attn_scalar": 16,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "use_cache": True,
    "tie_word_embeddings": False,
}
"""Fields by any of the names that configs have for them; each type takes those that it knows."""

_OF_TYPE: dict[str, dict[str, Any]] = {
    "blt": {
        f"{part}_config": {
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
        }
        for part in ("patcher", "encoder", "decoder", "global")
    },
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10_000.0},
        "ffn_config": {"ffn_hidden_size": 96, "moe_num_experts": 4, "moe_top_k": 2, "hidden_size": 64},
    },
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "num_layers": 4},
    "falcon": {"new_decoder_architecture": False, "multi_query": True, "alibi": False},
    "granitemoehybrid": {"layer_types": ["attention"] * 4, "layers_block_type": ["attention"] * 4},
    "bamba": {"attn_layer_indices": [1, 3]},
    "phimoe": {"original_max_position_embeddings": 256},
    "llama4_text": {"no_rope_layers": [1, 1, 1, 0], "interleave_moe_layer_step": 2},
    "gemma3n_text": {
        "intermediate_size": [96] * 4,
        "activation_sparsity_pattern": [0.0] * 4,
        "altup_num_inputs": 2,
    },
    "dots3_note_text": {"num_key_value_heads": 4},
    "lfm2_moe": {"layer_types": ["full_attention", "conv", "full_attention", "conv"]},
    "reformer": {"is_decoder": True},
    "longcat_flash": {"num_layers": 2, "zero_expert_num": 1, "rope_interleave": True},
}


DECODERS = ("bert", "roberta", "camembert", "electra", "xlm-roberta", "bert-generation", "rembert")
"""Types that are encoders, and generate text only if their config says that they are decoders."""


def tiny_config(model_type: str, **more: Any) -> PreTrainedConfig:
    """A config of a model type with four narrow layers, and windows of :data:`WINDOW` where it has some.

    Raises:
        Exception: The type's config takes no such sizes; whatever its class raises.
    """
    usual = AutoConfig.for_model(model_type)
    text = usual.get_text_config()
    known = {name: value for name, value in _SIZES.items() if _has(text, name)}
    if "qk_rope_head_dim" in known:
        known.pop("head_dim", None)  # it follows from the parts
        known["num_key_value_heads"] = 4
    known |= _OF_TYPE.get(text.model_type, {}) | more
    if text is not usual:
        return AutoConfig.for_model(model_type, text_config={"model_type": text.model_type, **known})
    return AutoConfig.for_model(model_type, **known)


def _has(config: PreTrainedConfig, name: str) -> bool:
    # Names that stand for others are left to those, or they would be set twice.
    return name in config.to_dict() or (
        name in config.attribute_map and config.attribute_map[name] not in _SIZES
    )
