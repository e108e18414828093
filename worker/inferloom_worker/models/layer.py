"""The weights of one decoder layer, as the fast path computes with them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from inferloom_worker.models.config import DecoderConfig
from inferloom_worker.weights.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class Layer:
    """One decoder layer's weights; projections are [out, in], and what is None the model has not."""

    input_norm: Tensor
    qkv: Tensor
    qkv_bias: Tensor | None
    q_norm: Tensor | None
    k_norm: Tensor | None
    output: Tensor
    output_bias: Tensor | None
    attention_post_norm: Tensor | None
    mlp_norm: Tensor
    gate_up: Tensor
    gate_up_bias: Tensor | None
    down: Tensor
    down_bias: Tensor | None
    mlp_post_norm: Tensor | None


class WeightReader:
    """Reads tensors in the type and place they are computed in, and counts their bytes.

    Raises:
        ValueError: From its methods, that a tensor is missing.
    """

    def __init__(
        self, config: DecoderConfig, checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.config, self.checkpoint, self.dtype, self.device = config, checkpoint, dtype, device
        self.bytes_read = 0

    def tensor(self, name: str) -> Tensor:
        """The tensor ``name``."""
        return _present(self.optional(name), name)

    def optional(self, name: str) -> Tensor | None:
        """The tensor ``name``, or None if there is none."""
        found = self.checkpoint.find(name)
        return None if found is None else self._place(found, self.dtype)

    def joined(self, parts: list[str], whole: str) -> Tensor | None:
        """The rows of several tensors in one, stored in ``parts`` or as ``whole``; None if there are none."""
        found = [self.optional(name) for name in parts]
        if all(tensor is None for tensor in found):
            return self.optional(whole)
        return torch.cat([_present(tensor, name) for tensor, name in zip(found, parts, strict=True)])

    def norm(self, name: str) -> Tensor:
        """The weight of the norm ``name``, in the type that it is applied in."""
        return _present(self.optional_norm(name), f"{name}.weight")

    def optional_norm(self, name: str) -> Tensor | None:
        """The weight of the norm ``name``, or None if there is none."""
        found = self.checkpoint.find(f"{name}.weight")
        if found is None:
            return None
        if not self.config.norm_offset:
            return self._place(found, self.dtype)
        return self._place(found.float() + self.config.norm_offset, torch.float32)

    def _place(self, tensor: Tensor, dtype: torch.dtype) -> Tensor:
        placed = tensor.to(self.device, dtype).contiguous()
        self.bytes_read += placed.numel() * placed.element_size()
        return placed


def read_layer(read: WeightReader, prefix: str) -> Layer:
    """Read the layer whose tensors' names begin with ``prefix``."""
    attention, mlp = f"{prefix}.self_attn", f"{prefix}.mlp"
    qkv, gate_up = [f"{attention}.{p}_proj" for p in "qkv"], [f"{mlp}.{p}_proj" for p in ("gate", "up")]

    def joined(parts: list[str], whole: str, kind: str) -> Tensor | None:
        return read.joined([f"{part}.{kind}" for part in parts], f"{whole}.{kind}")

    post_norms = read.config.post_norms
    # Between Llama and Gemma 2, the norm after attention has moved, and not its name.
    mlp_norm = "pre_feedforward_layernorm" if post_norms else "post_attention_layernorm"
    return Layer(
        input_norm=read.norm(f"{prefix}.input_layernorm"),
        qkv=_present(joined(qkv, f"{attention}.qkv_proj", "weight"), f"{attention}.qkv_proj.weight"),
        qkv_bias=joined(qkv, f"{attention}.qkv_proj", "bias"),
        q_norm=read.optional_norm(f"{attention}.q_norm"),
        k_norm=read.optional_norm(f"{attention}.k_norm"),
        output=read.tensor(f"{attention}.o_proj.weight"),
        output_bias=read.optional(f"{attention}.o_proj.bias"),
        attention_post_norm=read.norm(f"{prefix}.post_attention_layernorm") if post_norms else None,
        mlp_norm=read.norm(f"{prefix}.{mlp_norm}"),
        gate_up=_present(joined(gate_up, f"{mlp}.gate_up_proj", "weight"), f"{mlp}.gate_up_proj.weight"),
        gate_up_bias=joined(gate_up, f"{mlp}.gate_up_proj", "bias"),
        down=read.tensor(f"{mlp}.down_proj.weight"),
        down_bias=read.optional(f"{mlp}.down_proj.bias"),
        mlp_post_norm=read.norm(f"{prefix}.post_feedforward_layernorm") if post_norms else None,
    )


def _present(tensor: Tensor | None, name: str) -> Tensor:
    if tensor is None:
        raise ValueError(f"the weights have no tensor {name}")
    return tensor
