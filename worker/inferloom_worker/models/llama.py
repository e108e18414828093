"""The fast path of Llama-shaped decoders: Llama, SmolLM, Mistral, Qwen2, Qwen3, Gemma 1 to 3 and Phi-3.

Same arithmetic as transformers' modelling code, with fused projections and packed steps. It is tested token
for token against it.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from inferloom_worker.lora.placement import DecoderPlace, decoder_targets, place
from inferloom_worker.lora.weights import LoraWeights
from inferloom_worker.models.adapter import TorchAdapter, adapt
from inferloom_worker.models.attention import paged_attention, squash
from inferloom_worker.models.cache import LayerShape, PagedCache, bytes_per_token
from inferloom_worker.models.config import Activation, DecoderConfig
from inferloom_worker.models.decoder_tensors import check_tensors
from inferloom_worker.models.layer import Layer, WeightReader, read_layer
from inferloom_worker.models.rope import Rope
from inferloom_worker.stepping.batch import StepTensors
from inferloom_worker.stepping.sampler import TorchChooser
from inferloom_worker.weights.checkpoint import Checkpoint

_ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
}


class LlamaModel:
    """A :class:`~inferloom_worker.models.protocol.CausalModel` in eager torch.

    Raises:
        TensorError: The weights are not those of the config.
    """

    def __init__(
        self, config: DecoderConfig, checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device
    ) -> None:
        check_tensors(config, checkpoint)
        self.config = config
        self.dtype = dtype
        self.device = device
        self.vocab_size = config.vocab_size
        self.context_length = config.context_length
        self.hidden_size = config.hidden
        self._reader = WeightReader(config, checkpoint, dtype, device)
        read = self._reader
        self.embedding = read.tensor("model.embed_tokens.weight")
        self.layers = [read_layer(read, f"model.layers.{i}") for i in range(len(config.layers))]
        self.norm = read.norm("model.norm")
        self.head = self.embedding if config.tied else read.tensor("lm_head.weight")
        self._embedding_scale = torch.tensor(config.embedding_scale, dtype=dtype, device=device)
        self._ropes = [rope.to(device) for rope in config.ropes]
        self._activate = _ACTIVATIONS[config.activation]
        self._shapes: list[LayerShape] = [(config.kv_heads, config.head_dim)] * len(config.layers)
        self._cache: PagedCache | None = None

    chooser = TorchChooser()

    @property
    def weights_bytes(self) -> int:
        return self._reader.bytes_read

    @property
    def kv_bytes_per_token(self) -> int:
        return bytes_per_token(self._shapes, self.dtype)

    def allocate(self, blocks: int) -> None:
        self._cache = PagedCache(self._shapes, blocks, self.dtype, self.device)

    def adapter(self, weights: LoraWeights) -> TorchAdapter:
        return TorchAdapter(place(weights, decoder_targets(self.config)), self.dtype, self.device)

    @torch.inference_mode()
    def forward(self, batch: StepTensors) -> Tensor:
        logits = F.linear(self._states(batch), self.head).float()
        return squash(logits, self.config.final_softcap)

    @torch.inference_mode()
    def hidden(self, batch: StepTensors) -> Tensor:
        return self._states(batch).float()

    def _states(self, batch: StepTensors) -> Tensor:
        """The states of the rows whose logits are wanted, after the last norm [R, hidden]."""
        x = F.embedding(batch.token_tensor, self.embedding) * self._embedding_scale
        rotations = [self._rotation(rope, batch.position_tensor) for rope in self._ropes]
        for index, layer in enumerate(self.layers):
            rotation = rotations[self.config.layers[index].rope]
            attended = self._attend(index, layer, self._norm(x, layer.input_norm), rotation, batch)
            x = x + self._norm(attended, layer.attention_post_norm)
            fed = self._feed_forward(index, layer, self._norm(x, layer.mlp_norm), batch)
            x = x + self._norm(fed, layer.mlp_post_norm)
        return self._norm(x[batch.sample_tensor], self.norm)

    def _attend(
        self, index: int, layer: Layer, x: Tensor, rotation: tuple[Tensor, Tensor], batch: StepTensors
    ) -> Tensor:
        c, cache = self.config, self._cache
        assert cache is not None
        split = (c.heads * c.head_dim, c.kv_heads * c.head_dim, c.kv_heads * c.head_dim)
        qkv = _project(x, layer.qkv, layer.qkv_bias, (index, "qkv"), batch)
        q, k, v = (t.unflatten(-1, (-1, c.head_dim)) for t in qkv.split(split, -1))
        q, k = self._norm(q, layer.q_norm), self._norm(k, layer.k_norm)
        cache.write(index, batch.slots, _rotate(k, rotation), v)
        mixed = paged_attention(
            _rotate(q, rotation),
            cache,
            index,
            batch,
            scale=c.attention_scale,
            window=c.layers[index].window,
            softcap=c.attention_softcap,
        )
        return _project(mixed.flatten(1), layer.output, layer.output_bias, (index, "output"), batch)

    def _feed_forward(self, index: int, layer: Layer, x: Tensor, batch: StepTensors) -> Tensor:
        gate, up = _project(x, layer.gate_up, layer.gate_up_bias, (index, "gate_up"), batch).chunk(2, -1)
        return _project(self._activate(gate) * up, layer.down, layer.down_bias, (index, "down"), batch)

    def _rotation(self, rope: Rope, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines [T, 1, rotated]."""
        cos, sin = rope.tables(positions)
        return cos[:, None].to(self.dtype), sin[:, None].to(self.dtype)

    def _norm(self, x: Tensor, weight: Tensor | None) -> Tensor:
        """RMS norm, in float32 as the originals compute it; ``x`` itself if the model has no such norm."""
        if weight is None:
            return x
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.config.norm_eps)
        return (weight * wide.to(weight.dtype)).to(x.dtype)


def _project(x: Tensor, weight: Tensor, bias: Tensor | None, at: DecoderPlace, batch: StepTensors) -> Tensor:
    """A linear module with the changes of the rows' adapters."""
    return adapt(F.linear(x, weight, bias), x, at, batch)


def _rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary embedding of [T, heads, head_dim], halves against halves, of the dimensions that are rotated."""
    cos, sin = rotation
    turned, kept = x.tensor_split([cos.shape[-1]], -1)
    first, second = turned.chunk(2, -1)
    turned = turned * cos + torch.cat((-second, first), -1) * sin
    return torch.cat((turned, kept), -1) if kept.shape[-1] else turned
