"""Starts vLLM for a model."""

import os
from collections.abc import Mapping
from typing import Any

from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engine.protocol import Continuity, EngineInfo
from inferloom_worker.engines.vllm.backend import Backend
from inferloom_worker.engines.vllm.engine import VllmEngine
from inferloom_worker.engines.vllm.options import Query, read_query
from inferloom_worker.sourcing.sources import ModelSource, SourceError, SourceKind

PROCESSOR = "inferloom_worker.engines.vllm.processor:CarriedProcessor"

MAX_LOGPROBS = 20
"""Alternatives that requests may ask for at each place."""

NOT_CARRIED = frozenset({"constraint", "tools", "presence_penalty", "frequency_penalty"})
"""What generations do not go on with where nothing is carried."""

_LACKS = frozenset({"prediction"})

_ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",  # nothing is told to anybody about a mesh
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # this process has threads, of which a fork would have none
}


def start(source: ModelSource, options: EngineOptions, *, pooling: bool = False) -> VllmEngine:
    """Start vLLM for a model's folder. Blocking, for as long as it takes to load.

    Raises:
        SourceError: An option is none, or the model is nothing that vLLM takes.
        ModuleNotFoundError: vLLM is not installed.
    """
    if source.kind is not SourceKind.FOLDER or source.path is None:
        raise SourceError("the engine vllm takes models as folders of safetensors")
    if options.quantize is not None:
        raise SourceError("--quantize is for other engines; vLLM's is the option quantization in the spec")
    query = read_query(source.query)
    carry = carries(query) and not pooling
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if carry:
        # The processor speaks vLLM's first interface of processors, which its second model runner has not.
        os.environ.setdefault("VLLM_USE_V2_MODEL_RUNNER", "0")
    # Imported here: it takes seconds, and few workers have it.
    from inferloom_worker.engines.vllm.async_llm import Started, engine_args

    args = engine_args(query, settings(source, options, carry=carry, pooling=pooling))
    rank = int(args.max_lora_rank) if args.enable_lora else 0

    def begin() -> tuple[Backend, EngineInfo]:
        started = Started(args)
        return started, info(started, carry=carry)

    return VllmEngine(begin, options, carry=carry, max_rank=rank)


def carries(query: Query) -> bool:
    """Whether requests are carried: unless the spec says not, or asks for what vLLM does not do together with
    processors."""
    if query.carry is not None:
        return query.carry
    drafts = any(name in query.given for name in ("spec_method", "spec_model"))
    return not drafts and query.given.get("pipeline_parallel_size", "1") == "1"


def settings(source: ModelSource, options: EngineOptions, *, carry: bool, pooling: bool) -> Mapping[str, Any]:
    """What the worker says to vLLM where the spec is silent."""
    found: dict[str, Any] = {
        "model": str(source.path),
        "served_model_name": source.root,
        "runner": "pooling" if pooling else "generate",
        "generation_config": "vllm",
        "load_format": "safetensors",
        "dtype": options.dtype,
        "max_num_seqs": options.max_running,
        "disable_log_stats": False,
    }
    if options.context_length is not None:
        found["max_model_len"] = options.context_length
    if options.kv_cache_bytes is not None:
        found["kv_cache_memory_bytes"] = options.kv_cache_bytes
    if not pooling:
        found |= {
            "max_logprobs": MAX_LOGPROBS,
            "logprobs_mode": "raw_logprobs",
            "scheduling_policy": "priority",
            "structured_outputs_config": {"backend": "guidance", "disable_any_whitespace": True},
        }
    if carry:
        found["logits_processors"] = [PROCESSOR]
    return found


def info(started: Any, *, carry: bool) -> EngineInfo:
    """What the engine says of itself.

    Args:
        started: A running vLLM, as :class:`.async_llm.Started` describes it.
        carry: Whether requests are carried.
    """
    return EngineInfo(
        vocab_size=started.vocab_size,
        context_length=started.context_length,
        dtype=started.dtype,
        engine="vllm",
        instruction_set=started.device,
        slots=started.slots,
        kv_tokens=started.kv_tokens,
        weights_bytes=0,  # vLLM does not tell
        kv_bytes=0,
        embedding_dimensions=started.dimensions,
        constrains=not started.pooling,
        # vLLM's own generators begin anew where a draw goes on.
        continuity=Continuity.EXACT if carry and started.dtype == "float32" else Continuity.TOKENS,
        without=frozenset() if carry else NOT_CARRIED,
        ends_in_time=False,
        lacks=_LACKS if carry else _LACKS | {"bad_words"},
    )
