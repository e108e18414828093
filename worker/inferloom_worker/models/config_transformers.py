"""Reading a decoder's shape from a transformers config."""

from dataclasses import dataclass

from transformers.configuration_utils import PreTrainedConfig

from inferloom_worker.models.config import Activation, DecoderConfig, LayerConfig
from inferloom_worker.models.rope import Rope, head_width, read_rope


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """What transformers' modelling code of a model type does that the config does not say."""

    windowed: bool = False
    """It knows sliding windows: in the layers that ``layer_types`` names, or in all."""
    typed: bool = False
    """It knows ``layer_types``."""
    partial_rotary: bool = False
    """It can rotate a part of each head."""
    gemma: bool = False
    """It adds 1 to the weights of norms, and scales embeddings by the root of their width."""
    post_norms: bool = False
    """It norms the outputs of attention and feed-forward."""
    qk_norms: bool = False
    """It norms queries and keys."""
    qkv_bias: bool = False
    """Its queries, keys and values have biases, whatever the config says."""
    biased: bool = False
    """It knows ``attention_bias``, for all of attention."""
    mlp_biased: bool = False
    """It knows ``mlp_bias``."""


_FAMILIES = {
    "llama": _Family(biased=True, mlp_biased=True),
    "mistral": _Family(windowed=True),
    "qwen2": _Family(windowed=True, typed=True, qkv_bias=True),
    "qwen3": _Family(windowed=True, typed=True, qk_norms=True, biased=True),
    "phi3": _Family(windowed=True, partial_rotary=True),
    "gemma": _Family(gemma=True, biased=True),
    "gemma2": _Family(windowed=True, typed=True, gemma=True, post_norms=True, biased=True),
    "gemma3_text": _Family(
        windowed=True, typed=True, gemma=True, post_norms=True, qk_norms=True, biased=True
    ),
}
"""The model types that the fast path computes; every other takes the general path."""

_ACTIVATIONS: dict[str, Activation] = {"silu": "silu", "gelu_pytorch_tanh": "gelu_tanh"}
_LAYER_TYPES = frozenset({"full_attention", "sliding_attention"})


def from_transformers(config: PreTrainedConfig, context_length: int | None = None) -> DecoderConfig | None:
    """Read a transformers config; None if the fast path does not compute such a model.

    Args:
        config: The model's config.
        context_length: The longest sequence that will be computed. None: the model's own length.
    """
    whole = config
    if config.model_type == "gemma3":
        config = config.text_config  # a model that sees as well; for text alone its decoder is enough
    family = _FAMILIES.get(config.model_type)
    if family is None or getattr(config, "use_bidirectional_attention", False):
        return None
    activation = _ACTIVATIONS.get(getattr(config, "hidden_activation", None) or config.hidden_act)
    longest = min(config.max_position_embeddings, context_length or config.max_position_embeddings)
    read = _read_layers(config, family, longest)
    if activation is None or read is None:
        return None
    layers, ropes = read
    head_dim = head_width(config)
    attention_bias = family.biased and bool(getattr(config, "attention_bias", False))
    return DecoderConfig(
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=head_dim,
        intermediate=config.intermediate_size,
        vocab_size=config.vocab_size,
        context_length=longest,
        layers=layers,
        ropes=ropes,
        activation=activation,
        norm_eps=config.rms_norm_eps,
        norm_offset=1.0 if family.gemma else 0.0,
        post_norms=family.post_norms,
        embedding_scale=config.hidden_size**0.5 if family.gemma else 1.0,
        attention_scale=getattr(config, "query_pre_attn_scalar", head_dim) ** -0.5,
        attention_softcap=getattr(config, "attn_logit_softcapping", None),
        final_softcap=getattr(config, "final_logit_softcapping", None),
        qkv_bias=family.qkv_bias or attention_bias,
        output_bias=attention_bias,
        mlp_bias=family.mlp_biased and bool(getattr(config, "mlp_bias", False)),
        qk_norms=family.qk_norms,
        tied=whole.tie_word_embeddings,  # of a model that sees, its own word counts
    )


def _read_layers(
    config: PreTrainedConfig, family: _Family, context_length: int
) -> tuple[tuple[LayerConfig, ...], tuple[Rope, ...]] | None:
    """The layers and the rotary embeddings that they refer to; None if one is not known here."""
    every = "sliding_attention" if family.windowed else "full_attention"
    kinds: list[str] = config.layer_types if family.typed else [every] * config.num_hidden_layers
    if not _LAYER_TYPES.issuperset(kinds):
        return None
    windows = {"full_attention": None, "sliding_attention": getattr(config, "sliding_window", None)}
    # One rotary embedding for each type of layer, or one for all.
    owners: list[str | None] = [kind for kind in sorted(_LAYER_TYPES) if kind in config.rope_parameters]
    ropes = tuple(
        read_rope(config, context_length, owner, partial=family.partial_rotary) for owner in owners or [None]
    )
    layers = tuple(LayerConfig(windows[k], owners.index(k) if owners else 0) for k in kinds)
    known = tuple(rope for rope in ropes if rope is not None)
    return (layers, known) if len(known) == len(ropes) else None
