"""Any decoder of the transformers library, through its own modelling code.

The model keeps its arithmetic; only attention is replaced, by one that reads and writes the engine's paged
cache. So a step packs the tokens of many sequences into one row without padding, whatever the architecture.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface, PreTrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from inferloom_worker.lora.placement import Target, place
from inferloom_worker.lora.weights import LoraWeights
from inferloom_worker.models.adapter import TorchAdapter, adapt
from inferloom_worker.models.cache import PagedCache, bytes_per_token
from inferloom_worker.models.general_probe import probe_attention
from inferloom_worker.models.operations import AttentionShape, Operations, operations_for
from inferloom_worker.models.protocol import UnsupportedModelError
from inferloom_worker.stepping.batch import StepBatch
from inferloom_worker.stepping.sampler import TorchChooser

ATTENTION = "inferloom_paged"
"""Name under which transformers finds the attention; it makes no mask for names that it does not know."""


class GeneralModel:
    """A :class:`~inferloom_worker.models.protocol.CausalModel` around a transformers model.

    Args:
        model: The model, as :func:`~inferloom_worker.models.general_loading.load_transformers` gives it.
        context_length: The longest sequence that will be computed. None: the model's own length.

    Raises:
        UnsupportedModelError: The model's layers keep state other than attention's, or attention is more to
            them than what the paged cache computes.
    """

    def __init__(self, model: PreTrainedModel, context_length: int | None = None) -> None:
        config = model.config.get_text_config()
        self.model = model.eval()
        self.vocab_size = int(config.vocab_size)
        self.context_length = _context_length(config)
        self.hidden_size = int(model.get_output_embeddings().weight.shape[-1])
        self.dtype: torch.dtype = model.dtype
        self.device: torch.device = model.device
        with _linear_modules(model) as self._targets:
            asked = probe_attention(
                model, config, min(self.context_length, context_length or self.context_length)
            )
        if list(asked) != list(range(config.num_hidden_layers)):
            raise UnsupportedModelError(
                f"models of type {config.model_type} are not served: not every layer is attention"
            )
        self._shapes = [each.shape for each in asked.values()]
        self._windows = [each.window for each in asked.values()]
        heads = int(config.num_attention_heads)
        self._operations = operations_for(self.device, self.dtype, heads, self._shapes)
        AttentionInterface.register(ATTENTION, _attend)
        model.set_attn_implementation(ATTENTION)
        self._cache: PagedCache | None = None
        self._adapted: set[str] = set()
        self._adapting = threading.Lock()
        self._batch: StepBatch | None = None

    chooser = TorchChooser()

    @property
    def weights_bytes(self) -> int:
        return sum(p.numel() * p.element_size() for p in self.model.parameters())

    @property
    def kv_bytes_per_token(self) -> int:
        return bytes_per_token(self._shapes, self.dtype)

    def allocate(self, blocks: int) -> None:
        self._cache = PagedCache(self._shapes, blocks, self.dtype, self.device)

    def adapter(self, weights: LoraWeights) -> TorchAdapter:
        adapter = TorchAdapter(place(weights, self._targets), self.dtype, self.device)
        with self._adapting:
            # Hooks cost a little in every step, so only modules that an adapter changes get one.
            for name in weights.keys() - self._adapted:
                self.model.get_submodule(name).register_forward_hook(partial(self._adapt, name))
                self._adapted.add(name)
        return adapter

    def _adapt(self, name: str, module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert self._batch is not None
        adapt(output[0], inputs[0][0], name, self._batch)

    @torch.inference_mode()
    def forward(self, batch: StepBatch) -> Tensor:
        with self._step(batch) as inputs:
            output = self.model(**inputs, logits_to_keep=batch.sample_tensor)
        logits: Tensor = output.logits[0].float()
        return logits

    @torch.inference_mode()
    def hidden(self, batch: StepBatch) -> Tensor:
        with self._step(batch) as inputs:
            output = self.model.base_model(**inputs)
        states: Tensor = output.last_hidden_state[0, batch.sample_tensor].float()
        return states

    @contextmanager
    def _step(self, batch: StepBatch) -> Iterator[dict[str, Any]]:
        """What transformers' code is called with inside the block, where hooks know the step."""
        self._batch = batch
        try:
            yield {
                "input_ids": batch.token_tensor[None],
                "position_ids": batch.position_tensor[None],
                "use_cache": False,
                "paged_batch": batch,
                "paged_cache": self._cache,
                "paged_operations": self._operations,
                "paged_windows": self._windows,
            }
        finally:
            self._batch = None  # an adapter is held by its requests alone


def _context_length(config: PreTrainedConfig) -> int:
    """The longest sequence whose arithmetic is the same in any company.

    LongRoPE changes its frequencies past a length that transformers compares with the longest sequence of
    the whole step; up to it there is nothing to choose.
    """
    rope: Mapping[str, Any] = getattr(config, "rope_parameters", None) or {}
    kinds = [rope, *(value for value in rope.values() if isinstance(value, Mapping))]
    limits = [r["original_max_position_embeddings"] for r in kinds if r.get("rope_type") == "longrope"]
    return int(min([config.max_position_embeddings, *limits]))


@contextmanager
def _linear_modules(model: PreTrainedModel) -> Iterator[dict[str, Target[str]]]:
    """Learn, from a pass of two tokens inside the block, by name the linear modules that see every token of a
    step; configs name these in many ways."""
    targets: dict[str, Target[str]] = {}

    def note(name: str, module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if inputs and inputs[0].shape[:2] == (1, 2):
            targets[name] = Target(name, 0, output.shape[-1], inputs[0].shape[-1])

    hooks = [
        module.register_forward_hook(partial(note, name))
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not model.get_output_embeddings()
    ]
    try:
        yield targets
    finally:
        for hook in hooks:
            hook.remove()


def _attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it: query, key and value [1, heads, T, head_dim], output [1, T, …]."""
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    layer: Any = module.layer_idx
    batch: StepBatch = options["paged_batch"]
    cache: PagedCache = options["paged_cache"]
    width = value.shape[-1]
    # Where keys and values differ in width, the narrower ones end in zeros, which change no product.
    wide = max(key.shape[-1], width)
    query, key, value = (F.pad(t, (0, wide - t.shape[-1])) for t in (query, key, value))
    cache.write(layer, batch.slots, key[0].transpose(0, 1), value[0].transpose(0, 1))
    shape = AttentionShape(scaling, options["paged_windows"][layer], options.get("softcap"))
    operations: Operations = options["paged_operations"]
    mixed = operations.attend(query[0].transpose(0, 1), cache, layer, batch, shape)
    return mixed[..., :width].contiguous()[None], None
