"""An adapter's ``adapter_model.safetensors``: a low-rank change for each adapted module."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from inferloom_worker.lora.config import AdapterError, LoraConfig, read_config
from inferloom_worker.sourcing.lfs_pointer import CheckpointError
from inferloom_worker.weights.safetensors_files import open_safetensors

WEIGHTS_FILE = "adapter_model.safetensors"

_PREFIX = "base_model.model."
"""What peft puts before the base model's own names."""

_A, _B = ".lora_A.weight", ".lora_B.weight"


@dataclass(frozen=True, slots=True)
class LowRank:
    """The change of one linear module: for its inputs x, ``x aᵀ bᵀ`` is added to its outputs.

    Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (ICLR 2022), with the scale inside ``b``.
    """

    a: Tensor
    """float32 [rank, in]."""
    b: Tensor
    """float32 [out, rank]."""


LoraWeights = Mapping[str, LowRank]
"""Changes by the name of the module in the base model, such as ``model.layers.0.self_attn.q_proj``."""


def read_lora(folder: Path, max_rank: int) -> LoraWeights:
    """Read an adapter that peft saved. Blocking.

    Raises:
        AdapterError: It is of a kind that is not supported, a rank is over ``max_rank``, or it is damaged.
    """
    config = read_config(folder)
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise AdapterError(f"{folder.name} has no {WEIGHTS_FILE}; pickled weights are not read")
    try:
        with open_safetensors(path, "pt") as opened:
            tensors: dict[str, Tensor] = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 # no dict
    except CheckpointError as damaged:
        raise AdapterError(str(damaged)) from damaged
    modules = {name.removesuffix(_A) for name in tensors if name.endswith(_A)}
    strangers = tensors.keys() - {module + end for module in modules for end in (_A, _B)}
    if strangers:
        raise AdapterError(f"{WEIGHTS_FILE} holds {min(strangers)}, which is no part of a low-rank change")
    if not modules:
        raise AdapterError(f"{WEIGHTS_FILE} is empty")
    return {
        (name := module.removeprefix(_PREFIX)): _low_rank(name, tensors, module, config, max_rank)
        for module in sorted(modules)
    }


def _low_rank(
    name: str, tensors: Mapping[str, Tensor], module: str, config: LoraConfig, max_rank: int
) -> LowRank:
    a, b, rank = tensors[module + _A], tensors.get(module + _B), config.rank_of(name)
    if rank > max_rank:
        raise AdapterError(f"{name} has rank {rank}, and max_adapter_rank is {max_rank}")
    if b is None:
        raise AdapterError(f"{WEIGHTS_FILE} lacks {module + _B}")
    if a.ndim != 2 or b.ndim != 2 or (len(a), b.shape[1]) != (rank, rank):
        raise AdapterError(
            f"{name} has matrices of {list(a.shape)} and {list(b.shape)}, which is not of rank {rank}"
        )
    return LowRank(a.float(), b.float() * config.scale_of(name))
