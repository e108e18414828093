"""The tensors that a decoder's config implies, and the check that its weights have these and no others.

Every one is required or absent by the config, never by whether a file happens to have it: a norm or bias that
is missing, or that nobody would apply, is another model.
"""

import re
from collections.abc import Iterator, Mapping

from inferloom_worker.models.config import DecoderConfig
from inferloom_worker.weights.checkpoint import Checkpoint, StoredTensor

Size = tuple[int, ...]

_OF_NO_MEANING = re.compile(
    r"(lm_head|output)\.weight"  # of a model whose embedding is its head
    r"|rope_(freqs|factors_long|factors_short)\.weight|.*\.(attn_rot_embd\.weight|rotary_emb\.inv_freq)"
)
"""Tensors beside the expected ones that change nothing, or are read with the config."""
_DECODER = re.compile(
    r"(blk\.|token_embd|output)|(language_model\.)?(model\.)?(language_model\.)?(layers\.|norm\.)|lm_head\."
)
"""Names of a decoder's own tensors; what else a file holds, such as a part that sees, is not looked at."""


class TensorError(ValueError):
    """The weights are not those of the config; the message names the tensor."""


def check_tensors(config: DecoderConfig, checkpoint: Checkpoint) -> None:
    """Compare names, shapes and types of all tensors with the config's, before any of them is read.

    Raises:
        TensorError: One is missing, is of another shape or of a type that is no number here, or there is one
            that the config has no place for.
    """
    known: set[str] = set()
    for split, fused in expected_tensors(config):
        chosen = fused if fused and any(checkpoint.stored(name) for name in fused) else split
        for name, shape in chosen.items():
            known.add(_check(checkpoint, name, shape).name)
    for name in checkpoint.names():
        if name not in known and _DECODER.match(name) and not _OF_NO_MEANING.fullmatch(name):
            raise TensorError(f"the weights have a tensor {name}, which the model's config has no place for")


def expected_tensors(config: DecoderConfig) -> Iterator[tuple[Mapping[str, Size], Mapping[str, Size]]]:
    """Groups of tensors by their transformers names, each in the two forms that it may be stored in: one by
    one, and fused. The second is empty where there is one form only."""
    hidden, wide = config.hidden, config.intermediate
    query, state = config.heads * config.head_dim, config.kv_heads * config.head_dim
    parts = {"q": query, "k": state, "v": state}
    alone: dict[str, Size] = {
        "model.embed_tokens.weight": (config.vocab_size, hidden),
        "model.norm.weight": (hidden,),
    }
    if not config.tied:
        alone["lm_head.weight"] = (config.vocab_size, hidden)
    for layer in range(len(config.layers)):
        prefix = f"model.layers.{layer}"
        attention, mlp = f"{prefix}.self_attn", f"{prefix}.mlp"
        yield (
            _linear(
                {f"{attention}.{p}_proj": n for p, n in (("q", query), ("k", state), ("v", state))}, hidden
            ),
            _linear({f"{attention}.qkv_proj": query + 2 * state}, hidden),
        )
        yield (
            _linear({f"{mlp}.{part}_proj": wide for part in ("gate", "up")}, hidden),
            _linear({f"{mlp}.gate_up_proj": 2 * wide}, hidden),
        )
        alone |= _linear({f"{attention}.o_proj": hidden}, query) | _linear({f"{mlp}.down_proj": hidden}, wide)
        norms = ["input_layernorm", "post_attention_layernorm"]
        if config.post_norms:
            norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
        alone |= {f"{prefix}.{norm}.weight": (hidden,) for norm in norms}
        if config.qk_norms:
            alone |= {f"{attention}.{part}_norm.weight": (config.head_dim,) for part in "qk"}
        if config.qkv_bias:
            alone |= {f"{attention}.{part}_proj.bias": (count,) for part, count in parts.items()}
        if config.output_bias:
            alone[f"{attention}.o_proj.bias"] = (hidden,)
        if config.mlp_bias:
            alone |= {f"{mlp}.{part}_proj.bias": (wide,) for part in ("gate", "up")}
            alone[f"{mlp}.down_proj.bias"] = (hidden,)
    yield alone, {}


def _linear(outputs: Mapping[str, int], inputs: int) -> dict[str, Size]:
    return {f"{name}.weight": (count, inputs) for name, count in outputs.items()}


def _check(checkpoint: Checkpoint, name: str, shape: Size) -> StoredTensor:
    found = checkpoint.stored(name)
    if found is None:
        raise TensorError(f"the weights have no tensor {name} ({_words(shape)})")
    if found.shape != shape:
        raise TensorError(
            f"the tensor {found.name} has the wrong shape: "
            f"{_words(shape)} expected by the config, {_words(found.shape)} found"
        )
    if not found.readable:
        raise TensorError(f"the tensor {found.name} is stored as {found.type}, which is not computed")
    return found


def _words(shape: Size) -> str:
    return " × ".join(map(str, shape)) or "a single number"
