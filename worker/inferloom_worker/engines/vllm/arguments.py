"""Which arguments of vLLM's engine a spec may say. Pure.

They are those that are known to load no code and no pickles, and to open no files and connections. What is
not named here may not be said, which holds for arguments that vLLM has later, too.
"""

import json
from collections.abc import Callable, Mapping

from inferloom_worker.sourcing.sources import SourceError

_NUMBERS = """
    aggregate_engine_logging allow_deprecated_quantization async_scheduling block_size
    cp_kv_cache_interleave_size cpu_distributed_timeout_seconds cpu_offload_gb cudagraph_metrics
    data_parallel_size data_parallel_size_local dbo_decode_token_threshold dbo_prefill_token_threshold
    dcp_kv_cache_interleave_size dcp_q_replicate decode_context_parallel_size disable_cascade_attn
    disable_chunked_mm_input disable_custom_all_reduce disable_hybrid_kv_cache_manager
    disable_nccl_for_dp_synchronization disable_sliding_window distributed_timeout_seconds
    dp_sync_interval enable_batch_sharded_sampling enable_chunked_prefill enable_cumem_allocator
    enable_dbo enable_ep_weight_filter enable_eplb enable_expert_parallel enable_flashinfer_autotune
    enable_hc_sp enable_layerwise_nvtx_tracing enable_logging_iteration_details enable_lora
    enable_mamba_cache_stochastic_rounding enable_mamba_shared_prefix_checkpoint enable_mfu_metrics
    enable_mixed_moe_lora_format enable_mm_processor_stats enable_moe_shared_loras
    enable_nccl_comm_suspend enable_prefix_caching enable_shm_tensor_arena enable_sleep_mode
    enable_tower_connector_lora enforce_eager fail_on_environ_validation fully_sharded_loras
    gpu_memory_utilization jit_monitor_verbose kv_cache_memory_bytes kv_cache_metrics
    kv_cache_metrics_sample kv_offloading_size kv_sharing_fast_prefill language_model_only
    long_prefill_token_threshold long_prefill_token_threshold_adaptive mamba_block_size
    mamba_cache_philox_rounds max_cpu_loras max_cudagraph_capture_size max_lora_cls_labels max_loras
    max_model_len max_num_active_seqs max_num_batched_tokens max_num_queued_reqs max_num_queued_tokens
    max_num_scheduled_tokens max_num_seqs max_parallel_loading_workers mm_device_do_normalize
    mm_encoder_only mm_ipc_gpu_memory_gb mm_processor_cache_gb mm_shm_cache_max_object_size_mb
    num_gpu_blocks_override numa_bind offload_group_size offload_num_in_group offload_prefetch_step
    pipeline_parallel_size prefill_context_parallel_size prefill_schedule_interval
    prefix_cache_retention_interval prefix_match_unit renderer_num_workers replayssm_buffer_len
    safetensors_prefetch_block_size safetensors_prefetch_num_threads scheduler_reserve_full_isl seed
    shutdown_timeout skip_mm_profiling sleep_mode_offload_cudagraph spec_tokens specialize_active_lora
    stream_interval swa_bounded_replay tensor_parallel_size ubatch_size use_fp64_gumbel use_replayssm
    use_tqdm_on_load video_pruning_rate watermark
"""
"""Numbers and switches."""

_WORDS = """
    all2all_backend attention_backend config_format convert cpu_offload_params cudagraph_capture_sizes
    data_parallel_backend dcp_comm_backend device_ids dtype expert_placement_strategy
    gdn_prefill_backend jit_monitor_mode kda_decode_backend kda_prefill_backend kv_cache_dtype
    kv_cache_dtype_skip_layers kv_offloading_backend linear_backend log_level lora_dtype
    lora_target_modules mamba_backend mamba_cache_dtype mamba_cache_mode mamba_ssm_cache_dtype
    mamba_ssu_algorithm max_lora_rank mm_encoder_tp_mode mm_processor_cache_type model_impl moe_backend
    numa_bind_nodes offload_backend offload_params optimization_level per_request_spec_decode_metrics
    performance_mode prefix_caching_hash_algo quantization safetensors_load_strategy scheduling_policy
    sparse_indexer_topk_backend tokenizer_mode
"""
"""Words of a set that vLLM knows, and names of modules within the model."""

_FORMATS = frozenset(
    {
        *("safetensors", "fastsafetensors", "instanttensor", "mistral", "sharded_state"),
        *("runai_streamer", "runai_streamer_sharded"),
    }
)
"""Ways to load that read nothing but safetensors; ``auto`` and ``hf`` fall back to pickles."""

_EXECUTORS = frozenset({"mp", "ray", "uni"})
"""All else is imported as a class."""

_DRAFTS = frozenset(
    {
        *("draft_model", "dflash", "dspark", "eagle", "eagle3", "medusa", "mlp_speculator", "mtp"),
        *("ngram", "ngram_gpu", "suffix"),
    }
)
"""``custom_class`` would be imported."""

_ROPE = frozenset({"max_position_embeddings", "rope_parameters", "rope_scaling", "rope_theta"})
"""What specs may change of a model's configuration. Others name classes and functions."""

_CODE = "it has code imported"
_PLACES = "places and connections are the worker's own"

REFUSED: Mapping[str, str] = {
    "model": "the spec names the model",
    "tokenizer": "the model's own is used",
    "served_model_name": "NAME=vllm:... names the model",
    "skip_tokenizer_init": "constraints need the tokenizer",
    "trust_remote_code": "no code is run that comes with a model",
    "logits_processors": "the worker brings its own",
    "disable_log_stats": "load and heartbeats are read from the statistics",
    "enable_log_requests": "the worker has an access log",
    "logprobs_mode": "log-probabilities are the model's own",
    "runner": "the model's folder says what it is for",
    "generation_config": "sampling defaults are those of the model's card",
    "override_generation_config": "sampling defaults are those of the model's card",
    "max_logprobs": "it is what requests may ask for",
    "structured_outputs_config": "constraints need what the worker says there",
    "reasoning_parser": "the worker reads thoughts itself",
    "speculative_config": "spec_method, spec_model and spec_tokens say it",
    "model_loader_extra_config": "load_format says it all",
    "otlp_traces_endpoint": "the worker sends traces (otlp_endpoint)",
    **dict.fromkeys(
        (
            *("reasoning_parser_plugin", "io_processor_plugin", "scheduler_cls", "worker_cls"),
            *("worker_extension_cls", "model_class_overrides", "log_config_file", "compilation_config"),
            *("kv_transfer_config", "ec_transfer_config", "ec_manager_config", "additional_config"),
        ),
        _CODE,
    ),
    **dict.fromkeys(
        (
            *("download_dir", "allowed_local_media_path", "allowed_media_domains", "hf_config_path"),
            *("model_weights", "master_addr", "master_port", "nnodes", "node_rank", "kv_events_config"),
            *("data_parallel_address", "data_parallel_rpc_port", "profiler_config", "hf_token"),
        ),
        _PLACES,
    ),
}
"""Arguments that no spec may say, with why; others that are not allowed have a common sentence."""


def check_value(name: str, value: str) -> None:
    """Refuse a value that would have code or pickles loaded.

    Args:
        name: An argument.
        value: As it was typed.

    Raises:
        SourceError: It is one.
    """
    if (check := _CHECKS.get(name)) is not None:
        check(name, value)


def _one_of(words: frozenset[str], why: str) -> Callable[[str, str], None]:
    def check(name: str, value: str) -> None:
        if value.lower() not in words:
            raise SourceError(f"{name} {value[:80]!r} is none of {', '.join(sorted(words))}: {why}")

    return check


def _folder(name: str, value: str) -> None:
    if not value.startswith("/"):
        raise SourceError(
            f"{name} is a folder's absolute path, not {value[:80]!r}: a class would be imported"
        )


def _rope(name: str, value: str) -> None:
    try:
        given = json.loads(value)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict) or not given.keys() <= _ROPE:
        raise SourceError(f"{name} is a JSON object of {', '.join(sorted(_ROPE))} only")


_CHECKS: Mapping[str, Callable[[str, str], None]] = {
    "load_format": _one_of(_FORMATS, "pickles are not loaded"),
    "distributed_executor_backend": _one_of(_EXECUTORS, "no class is imported"),
    "spec_method": _one_of(_DRAFTS, "no class is imported"),
    "spec_model": _folder,
    "hf_overrides": _rope,
}
"""Arguments that may be said with some values."""

ALLOWED = frozenset({*_NUMBERS.split(), *_WORDS.split(), *_CHECKS})
"""The arguments that a spec may say."""
