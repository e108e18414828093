"""Rotary position embeddings (https://arxiv.org/abs/2104.09864) and how they are scaled to long contexts."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

log = logging.getLogger(__name__)

_KINDS = frozenset({"default", "linear", "dynamic", "llama3", "yarn", "longrope"})


@dataclass(frozen=True, slots=True)
class Rope:
    """One rotary embedding."""

    frequencies: Tensor
    """Radians per token, float32 [rotated / 2]; dimensions past ``rotated`` are left as they are."""
    scale: float = 1.0
    """Factor on the cosines and sines."""

    @property
    def rotated(self) -> int:
        """How many of a head's first dimensions are rotated."""
        return 2 * len(self.frequencies)

    def to(self, device: torch.device) -> "Rope":
        """The same on another device."""
        return Rope(self.frequencies.to(device), self.scale)

    def tables(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines of positions [T], float32 [T, rotated], the two halves alike."""
        angles = positions[:, None].float() * self.frequencies
        angles = torch.cat((angles, angles), -1)
        return angles.cos() * self.scale, angles.sin() * self.scale


def read_rope(
    config: PreTrainedConfig, context_length: int, layer_type: str | None = None, *, partial: bool = False
) -> Rope | None:
    """Read a rotary embedding from a transformers config; None if it is of a kind that is not known here.

    Args:
        config: The model's config.
        context_length: The longest sequence that will be computed. It decides between LongRoPE's two sets of
            frequencies, since state that one set gave is of no use under the other.
        layer_type: Which of the config's rotary embeddings, where it has one for each type of layer.
        partial: Whether the model's heads can be rotated in part.
    """
    rope: Mapping[str, Any] = config.rope_parameters
    if layer_type is not None:
        rope = rope[layer_type]
    kind, fraction = rope["rope_type"], rope.get("partial_rotary_factor") or 1.0
    if kind not in _KINDS or (fraction != 1.0 and not partial):
        return None
    if kind == "default":
        rotated = int(head_width(config) * fraction)
        places = torch.arange(0, rotated, 2, dtype=torch.int64).float()
        return Rope(1.0 / (rope["rope_theta"] ** (places / rotated)))
    # Dynamic scaling begins past the config's own length, which no sequence reaches here.
    length = None
    if kind == "longrope":
        length, original = context_length, rope["original_max_position_embeddings"]
        if length > original:
            log.info(
                "sequences of up to %d tokens are served, so all take LongRoPE's long frequencies; "
                "a context length of %d would take the short ones, which are better up to it",
                *(length, original),
            )
    frequencies, scale = ROPE_INIT_FUNCTIONS[kind](
        config, torch.device("cpu"), seq_len=length, layer_type=layer_type
    )
    return Rope(frequencies, scale)


def head_width(config: PreTrainedConfig) -> int:
    """Dimensions of one attention head."""
    width: int = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return width
