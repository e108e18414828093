"""Where an adapter's changes go: the projections of a model, and the modules that are fused in them."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from inferloom_worker.lora.config import AdapterError
from inferloom_worker.lora.weights import LoraWeights, LowRank
from inferloom_worker.models.config import DecoderConfig

P = TypeVar("P", bound=Hashable)
"""What a model names its projections by."""

DecoderPlace = tuple[int, str]
"""A layer's number and one of ``qkv``, ``output``, ``gate_up`` and ``down``."""


@dataclass(frozen=True, slots=True)
class Target(Generic[P]):
    """A linear module of the base: its projection, where its outputs begin there, and its size."""

    place: P
    first: int
    outputs: int
    inputs: int


@dataclass(frozen=True, slots=True)
class Part:
    """The change of a projection's outputs from ``first`` on: ``b`` [outputs, rank], times the low-rank
    values from ``low`` on."""

    first: int
    low: int
    b: Tensor


@dataclass(frozen=True, slots=True)
class Change:
    """The change of one projection. Its parts read the same inputs: ``a`` is [sum of their ranks, inputs]."""

    a: Tensor
    parts: tuple[Part, ...]


def place(weights: LoraWeights, targets: Mapping[str, Target[P]]) -> dict[P, Change]:
    """Put an adapter's changes together by the projections that they change.

    Raises:
        AdapterError: The base has no such module to adapt, or it has another size.
    """
    found: dict[P, list[tuple[Target[P], LowRank]]] = {}
    for name, change in weights.items():
        target = next((targets[place] for place in _places(name) if place in targets), None)
        if target is None:
            raise AdapterError(f"the base model has no module {name} that can be adapted")
        outputs, inputs = len(change.b), change.a.shape[1]
        if (outputs, inputs) != (target.outputs, target.inputs):
            raise AdapterError(
                f"{name} has {target.inputs} inputs and {target.outputs} outputs in the base model, "
                f"and {inputs} and {outputs} in the adapter"
            )
        found.setdefault(target.place, []).append((target, change))
    return {where: _join(changes) for where, changes in found.items()}


def _places(name: str) -> tuple[str, ...]:
    """What a module may be called in the base: adapters of a model that sees as well name its decoder's
    modules as the hub's files or as transformers does, see ``FolderCheckpoint.find``."""
    decoder = name.removeprefix("language_model.").replace("model.language_model.", "model.", 1)
    return (name, decoder)


def _join(changes: list[tuple[Target[P], LowRank]]) -> Change:
    parts: list[Part] = []
    low = 0
    for target, change in changes:
        parts.append(Part(target.first, low, change.b.contiguous()))
        low += len(change.a)
    return Change(torch.cat([change.a for _, change in changes]), tuple(parts))


def decoder_targets(config: DecoderConfig) -> dict[str, Target[DecoderPlace]]:
    """The linear modules of a Llama-shaped decoder by their names in transformers, where some are fused in
    Phi-3."""
    query, state = config.heads * config.head_dim, config.kv_heads * config.head_dim
    hidden, wide = config.hidden, config.intermediate
    return {
        f"model.layers.{layer}.{module}": Target((layer, projection), first, outputs, inputs)
        for layer in range(len(config.layers))
        for module, projection, first, outputs, inputs in (
            ("self_attn.q_proj", "qkv", 0, query, hidden),
            ("self_attn.k_proj", "qkv", query, state, hidden),
            ("self_attn.v_proj", "qkv", query + state, state, hidden),
            ("self_attn.qkv_proj", "qkv", 0, query + 2 * state, hidden),
            ("self_attn.o_proj", "output", 0, hidden, query),
            ("mlp.gate_proj", "gate_up", 0, wide, hidden),
            ("mlp.up_proj", "gate_up", wide, wide, hidden),
            ("mlp.gate_up_proj", "gate_up", 0, 2 * wide, hidden),
            ("mlp.down_proj", "down", 0, hidden, wide),
        )
    }
