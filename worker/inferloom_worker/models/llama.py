"""The fast path of Llama-shaped decoders: Llama, SmolLM, Mistral, Qwen2, Qwen3, Gemma 1 to 3 and Phi-3.

Same arithmetic as transformers' modelling code, with fused projections and packed steps. It is tested token
for token against it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from inferloom_worker.lora.placement import DecoderPlace, decoder_targets, place
from inferloom_worker.lora.weights import LoraWeights
from inferloom_worker.models.adapter import TorchAdapter, adapt
from inferloom_worker.models.attention import squash
from inferloom_worker.models.cache import LayerShape, PagedCache, bytes_per_token
from inferloom_worker.models.config import DecoderConfig
from inferloom_worker.models.decoder_tensors import check_tensors
from inferloom_worker.models.layer import Layer, WeightReader, read_layer
from inferloom_worker.models.operations import AttentionShape, Operations, Rotation, operations_for
from inferloom_worker.stepping.batch import StepTensors
from inferloom_worker.stepping.sampler import TorchChooser
from inferloom_worker.weights.checkpoint import Checkpoint


class LlamaModel:
    """A :class:`~inferloom_worker.models.protocol.CausalModel` in torch.

    Args:
        config: The decoder's shape.
        checkpoint: Its weights.
        dtype: What they are computed in.
        device: Where.
        operations: What computes all but matrix products. None: the fastest there is for the device.

    Raises:
        TensorError: The weights are not those of the config.
    """

    def __init__(
        self,
        config: DecoderConfig,
        checkpoint: Checkpoint,
        dtype: torch.dtype,
        device: torch.device,
        operations: Operations | None = None,
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
        self._shapes: list[LayerShape] = [(config.kv_heads, config.head_dim)] * len(config.layers)
        self._operations = operations or operations_for(device, dtype, config.heads, self._shapes)
        self._attention = [
            AttentionShape(config.attention_scale, layer.window, config.attention_softcap)
            for layer in config.layers
        ]
        self._cache: PagedCache | None = None

    chooser = TorchChooser()

    @property
    def any_prompts(self) -> bool:
        """Whether a recorded step can be of other prompts than it was recorded with."""
        return self._operations.any_prompts

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
        do, eps = self._operations, self.config.norm_eps
        x = F.embedding(batch.token_tensor, self.embedding) * self._embedding_scale
        rotations = [rope.tables(batch.position_tensor) for rope in self._ropes]
        normed = do.norm(x, self.layers[0].input_norm, eps)
        for index, layer in enumerate(self.layers):
            attended = self._attend(index, layer, normed, rotations[self.config.layers[index].rope], batch)
            x, normed = do.add_and_norm(x, attended, layer.attention_post_norm, layer.mlp_norm, eps)
            fed = self._feed_forward(index, layer, normed, batch)
            if index + 1 < len(self.layers):
                next_norm = self.layers[index + 1].input_norm
                x, normed = do.add_and_norm(x, fed, layer.mlp_post_norm, next_norm, eps)
        rows = batch.sample_tensor
        return do.add_and_norm(x[rows], fed[rows], layer.mlp_post_norm, self.norm, eps)[1]

    def _attend(self, index: int, layer: Layer, x: Tensor, rotation: Rotation, batch: StepTensors) -> Tensor:
        do, cache = self._operations, self._cache
        assert cache is not None
        qkv = _project(x, layer.qkv, layer.qkv_bias, (index, "qkv"), batch)
        norms = layer.q_norm, layer.k_norm
        q = do.rotate_and_store(qkv, norms, self.config.norm_eps, rotation, cache, index, batch.slots)
        mixed = do.attend(q, cache, index, batch, self._attention[index])
        return _project(mixed.flatten(1), layer.output, layer.output_bias, (index, "output"), batch)

    def _feed_forward(self, index: int, layer: Layer, x: Tensor, batch: StepTensors) -> Tensor:
        gate_up = _project(x, layer.gate_up, layer.gate_up_bias, (index, "gate_up"), batch)
        gated = self._operations.gate(gate_up, self.config.activation)
        return _project(gated, layer.down, layer.down_bias, (index, "down"), batch)


def _project(x: Tensor, weight: Tensor, bias: Tensor | None, at: DecoderPlace, batch: StepTensors) -> Tensor:
    """A linear module with the changes of the rows' adapters."""
    return adapt(F.linear(x, weight, bias), x, at, batch)
