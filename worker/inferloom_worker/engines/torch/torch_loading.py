"""From a model source to a running engine."""

import logging
from pathlib import Path

import psutil
import torch
from transformers.configuration_utils import PreTrainedConfig

from inferloom_mesh.machine import cores
from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engines.torch.engine import TorchEngine
from inferloom_worker.kernels.library import instruction_set
from inferloom_worker.models.captured import CapturedModel
from inferloom_worker.models.config import MOST_LAYERS
from inferloom_worker.models.config_gguf import from_gguf, refuse_scaled
from inferloom_worker.models.config_transformers import from_transformers
from inferloom_worker.models.cuda_graph import CudaGraphs
from inferloom_worker.models.graph_sizes import GraphSizes
from inferloom_worker.models.instruction_set import torch_instruction_set
from inferloom_worker.models.llama import LlamaModel
from inferloom_worker.models.native import NativeModel, can_compute
from inferloom_worker.models.protocol import CausalModel, UnsupportedModelError
from inferloom_worker.sourcing.imports import large_imports
from inferloom_worker.sourcing.json_files import read_object
from inferloom_worker.stepping.blocks import BLOCK_TOKENS, blocks_for
from inferloom_worker.weights.bfloat16 import round_bfloat16
from inferloom_worker.weights.checkpoint import FolderCheckpoint, GgufCheckpoint
from inferloom_worker.weights.gguf import read_gguf
from inferloom_worker.weights.groups import quantize_int4, quantize_int8
from inferloom_worker.weights.quantized import refuse_quantized
from inferloom_worker.weights.sources import GgufSource, KernelSource, RoundedSource

_GATHERED_ROWS, _GATHERED_TOKENS = 16, 512
"""Rows, and tokens of context, in the largest graph whose attention copies its context."""

_TOKENS_PER_SEQUENCE = 1024
"""State that is provided for each running sequence when memory allows."""

log = logging.getLogger(__name__)


def load_engine(path: Path, options: EngineOptions) -> TorchEngine:
    """Load the decoder in a GGUF file or a model folder and start its engine. Blocking, for seconds.

    Raises:
        GgufError, UnsupportedModelError, FileNotFoundError, ValueError: The model cannot be served; the
            message says why.
    """
    model = load_causal(path, options)
    native = isinstance(model, NativeModel)
    engine = TorchEngine(
        model,
        options,
        kv_blocks(model, options),
        computes="kernels" if native else "torch",
        instruction_set=instruction_set() if native else torch_instruction_set(model.device),
    )
    if isinstance(model, CapturedModel):
        try:
            model.prepare()
        except BaseException:
            engine.close()  # its thread would hold the device's memory for ever
            raise
    return engine


def load_causal(path: Path, options: EngineOptions) -> CausalModel:
    """Load the decoder in a GGUF file or a model folder into what computes it best on this machine.

    Raises:
        GgufError, UnsupportedModelError, FileNotFoundError, ValueError: As :func:`load_engine`.
    """
    torch.set_num_threads(threads(options))
    model = _load_native(path, options)
    if model is None:
        device = pick_device(options.device)
        model = load_model(
            path, pick_dtype(options.dtype, device), device, context_length=options.context_length
        )
        model = _captured(model, options)
    return model


def _load_native(path: Path, options: EngineOptions) -> CausalModel | None:
    """Load weights into the kernels, if they compute this model on this machine."""
    if options.dtype not in ("auto", "bfloat16") or pick_device(options.device).type != "cpu":
        return None
    source: KernelSource
    dtype = torch.int8
    if path.is_file():
        file = read_gguf(path)
        shape = from_gguf(file, options.context_length)
        stored = GgufSource(file)
        if options.dtype == "auto" and stored.readable():
            source = stored
            if rounded := stored.rounded():
                log.info("%s: its matrices in %s are rounded to bfloat16", path.name, ", ".join(rounded))
        else:
            source, dtype = RoundedSource(GgufCheckpoint(file), round_bfloat16), torch.bfloat16
    else:
        shape = from_transformers(_read_config(path), options.context_length)
        checkpoint = FolderCheckpoint(path)
        if options.quantize is None:
            source, dtype = RoundedSource(checkpoint, round_bfloat16), torch.bfloat16
        elif options.quantize == "int8":
            source = RoundedSource(checkpoint, quantize_int8)
        else:
            # A head of 4 bits costs more than 4 bits everywhere else; llama.cpp's files have 8 there, too.
            source = RoundedSource(checkpoint, quantize_int4, of_vocabulary=quantize_int8)
    if shape is None or not can_compute(shape):
        return None
    return NativeModel(shape, source, dtype=dtype, threads=threads(options))


def _read_config(folder: Path) -> PreTrainedConfig:
    # Imported here: it takes half a second, and its architecture's class two more. GGUF files need neither.
    from transformers import AutoConfig

    values = read_object(folder / "config.json")
    for part in (values, values.get("text_config")):
        layers = part.get("num_hidden_layers", 1) if isinstance(part, dict) else 1
        if not isinstance(layers, int) or not 0 < layers <= MOST_LAYERS:
            # Its classes would make lists of so many names.
            raise UnsupportedModelError(f"config.json has num_hidden_layers {layers!r}")
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as failure:
        # For values that make no sense, its classes raise whatever they stumble over.
        raise UnsupportedModelError(f"config.json cannot be read: {failure}") from failure
    return config


def _captured(model: CausalModel, options: EngineOptions) -> CausalModel:
    """The model with its steps as graphs, where it runs on CUDA and its steps can be recorded."""
    if model.device.type != "cuda" or not isinstance(model, LlamaModel):
        return model
    context = min(model.context_length, options.context_length or model.context_length)
    if model.any_prompts:
        sizes = GraphSizes(
            max_rows=options.max_running, max_reads=options.max_step_tokens, max_context=context
        )
    else:
        # A graph of torch's operations gathers as much for every row as the longest may have.
        rows, tokens = min(options.max_running, _GATHERED_ROWS), min(context, _GATHERED_TOKENS)
        sizes = GraphSizes(max_rows=rows, max_reads=0, max_context=tokens)
    return CapturedModel(model, sizes=sizes, new_graph=CudaGraphs().new)


def threads(options: EngineOptions) -> int:
    """Threads that one step computes on."""
    return options.threads or cores()


def load_model(
    path: Path,
    dtype: torch.dtype,
    device: torch.device,
    *,
    general: bool = False,
    context_length: int | None = None,
) -> CausalModel:
    """Load weights expanded to ``dtype``: into the fast path where it computes the architecture, otherwise
    (or if ``general``) into the general path. ``context_length`` is the longest sequence to come."""
    if path.is_file():
        file = read_gguf(path)
        shape = None if general else from_gguf(file, context_length)
        if shape is not None:
            return LlamaModel(shape, GgufCheckpoint(file), dtype, device)
        refuse_scaled(file)
        if file.parts:
            raise UnsupportedModelError(
                f"{path.name} is one of {len(file.parts)} parts, which are not put together for "
                f"{file.architecture} models; merge them with llama-gguf-split --merge"
            )
    else:
        shape = None if general else from_transformers(_read_config(path), context_length)
        if shape is not None:
            return LlamaModel(shape, FolderCheckpoint(path), dtype, device)
        refuse_quantized(path)
    log.info("%s: taking the general path", path.name)
    with large_imports():
        # Imported here: transformers' modelling code takes seconds, and the fast path needs none of it.
        from inferloom_worker.models.general import GeneralModel
        from inferloom_worker.models.general_loading import load_transformers
    return GeneralModel(load_transformers(path, dtype).to(device), context_length)


def pick_device(wanted: str) -> torch.device:
    """The device to compute on."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wanted)


def pick_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """The type to compute in."""
    if wanted != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[wanted]
    if device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.float32  # bfloat16 would be emulated, at a tenth of the speed
    return torch.bfloat16


def kv_blocks(model: CausalModel, options: EngineOptions) -> int:
    """How many cache blocks the options and the free memory allow; at least one full context."""
    context = min(model.context_length, options.context_length or model.context_length)
    block_bytes = model.kv_bytes_per_token * BLOCK_TOKENS
    if options.kv_cache_bytes is not None:
        wanted = options.kv_cache_bytes // block_bytes
    else:
        free = (
            torch.cuda.mem_get_info(model.device)[0]
            if model.device.type == "cuda"
            else psutil.virtual_memory().available
        )
        wanted = min(blocks_for(options.max_running * _TOKENS_PER_SEQUENCE), free // 4 // block_bytes)
    return max(wanted, blocks_for(context) + 1)
