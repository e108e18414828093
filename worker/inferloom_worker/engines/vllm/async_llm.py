"""vLLM's AsyncLLM as a :class:`~inferloom_worker.engines.vllm.backend.Backend`."""

import argparse
import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from vllm import PoolingParams, SamplingParams
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.exceptions import GracefulHTTPError, VLLMClientError
from vllm.inputs.engine import tokens_input
from vllm.lora.request import LoRARequest
from vllm.platforms import current_platform
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError
from vllm.v1.metrics.loggers import StatLoggerBase

from inferloom_worker.engines.vllm.backend import (
    DeadError,
    LoadedAdapter,
    Named,
    Piece,
    RefusedError,
    StepRecord,
)
from inferloom_worker.engines.vllm.guard import Guard
from inferloom_worker.engines.vllm.options import Query, argv, check_names
from inferloom_worker.engines.vllm.pieces import logprobs, timing
from inferloom_worker.engines.vllm.translation import Asked
from inferloom_worker.models.instruction_set import torch_instruction_set
from inferloom_worker.sourcing.sources import SourceError


def engine_args(query: Query, set_here: Mapping[str, Any]) -> AsyncEngineArgs:
    """The arguments of vLLM's engine: those of the spec, checked as vLLM checks its own command line, and
    ``set_here`` where the spec is silent.

    Raises:
        SourceError: One is unknown, or of another type.
    """
    names = {field.name for field in dataclasses.fields(AsyncEngineArgs) if not field.name.startswith("_")}
    check_names(query, names)
    parser = AsyncEngineArgs.add_cli_args(_Parser(prog="vllm"))
    switches = {
        action.dest for action in parser._actions if isinstance(action, argparse.BooleanOptionalAction)
    }
    # With the model, which is looked for as soon as there are arguments.
    words = [f"--model={set_here['model']}", *argv(query.given, switches)]
    parsed = AsyncEngineArgs.from_cli_args(parser.parse_args(words))
    return dataclasses.replace(
        parsed, **{name: value for name, value in set_here.items() if name not in query.given}
    )


class _Parser(FlexibleArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SourceError(f"vLLM's engine: {message.removeprefix('argument ')}")


class Started:
    """A running AsyncLLM with what is known of it.

    Args:
        args: Its arguments.
    """

    def __init__(self, args: AsyncEngineArgs) -> None:
        self._watchers: list[Callable[[StepRecord], None]] = []
        self._engines: dict[int, StepRecord] = {}
        self._guard = Guard()
        try:
            # It returns when the weights are there, which can take minutes.
            with self._guard.learning():
                self._llm = AsyncLLM.from_engine_args(args, stat_loggers=[self._logger])
        except BaseException:
            self._guard.kill()
            raise
        try:
            self._read_config()
        except BaseException:
            self.shutdown()
            raise

    def _read_config(self) -> None:
        config = self._llm.vllm_config
        self.vocab_size = int(config.model_config.get_vocab_size())
        self.context_length = int(config.model_config.max_model_len)
        self.dtype = str(config.model_config.dtype).removeprefix("torch.")
        parallel = int(config.parallel_config.data_parallel_size)
        self.step_tokens = int(config.scheduler_config.max_num_batched_tokens)
        self.slots = int(config.scheduler_config.max_num_seqs) * parallel
        blocks = int(config.cache_config.num_gpu_blocks or 0)
        self.kv_tokens = blocks * int(config.cache_config.block_size)
        cpu = current_platform.is_cpu()
        self.device = (
            torch_instruction_set(torch.device("cpu")) if cpu else str(current_platform.get_device_name())
        )
        self.pooling = config.model_config.runner_type == "pooling"
        self.dimensions = int(config.model_config.embedding_size) if self.pooling else None
        self.takes_adapters = config.lora_config is not None
        self.max_rank = int(config.lora_config.max_lora_rank) if config.lora_config else 0

    def _logger(self, vllm_config: Any, engine_index: int = 0) -> "_Statistics":
        return _Statistics(lambda record: self._stepped(engine_index, record))

    def _stepped(self, engine: int, record: StepRecord) -> None:
        """An engine has taken a step; with data parallelism there are several, each with its own memory."""
        self._engines[engine] = record
        all_ = self._engines.values()
        whole = StepRecord(
            sum(each.running for each in all_),
            sum(each.waiting for each in all_),
            sum(each.kv_usage for each in all_) / len(all_),
        )
        for watcher in self._watchers:
            watcher(whole)

    def watch(self, record: Callable[[StepRecord], None]) -> None:
        """See :class:`Backend`."""
        self._watchers.append(record)

    @property
    def dead(self) -> bool:
        """See :class:`Backend`."""
        return bool(self._llm.errored)

    async def generate(self, asked: Asked, named: Named) -> AsyncIterator[Piece]:
        """See :class:`Backend`."""
        try:
            outputs = StructuredOutputsParams(**asked.structured) if asked.structured else None
            params = SamplingParams(
                **asked.parameters,
                structured_outputs=outputs,
                output_kind=RequestOutputKind.DELTA,
                skip_clone=True,
            )
            told = False
            stream = self._llm.generate(
                tokens_input(asked.prompt, cache_salt=named.cache_salt or None),
                params,
                named.id,
                lora_request=_lora(named.adapter),
                priority=-named.priority,
            )
            async for output in stream:
                piece = _piece(output, asked, told=told)
                told = told or piece.prompt_logprobs is not None
                yield piece
        except EngineDeadError as dead:
            raise DeadError(str(dead)) from dead
        except (VLLMClientError, GracefulHTTPError, ValueError) as refused:
            raise _refusal(refused) from refused

    async def embed(self, prompt: list[int], named: Named) -> NDArray[np.float32]:
        """See :class:`Backend`."""
        try:
            stream = self._llm.encode(
                tokens_input(prompt, cache_salt=named.cache_salt or None),
                PoolingParams(task="embed", use_activation=False),
                named.id,
                lora_request=_lora(named.adapter),
                priority=-named.priority,
            )
            async for output in stream:
                if output.finished:
                    return np.asarray(output.outputs.data.float().cpu().numpy(), np.float32)
        except EngineDeadError as dead:
            raise DeadError(str(dead)) from dead
        except (VLLMClientError, GracefulHTTPError, ValueError) as refused:
            raise _refusal(refused) from refused
        raise RefusedError("no vector came")

    async def add_adapter(self, adapter: LoadedAdapter) -> None:
        """See :class:`Backend`."""
        try:
            added = await self._llm.add_lora(_lora(adapter))
        except EngineDeadError as dead:
            raise DeadError(str(dead)) from dead
        except Exception as failure:  # whatever its worker met, which may be anything
            raise RefusedError(str(failure)) from failure
        if not added:
            raise RefusedError("vLLM did not load it")

    async def remove_adapter(self, number: int) -> None:
        """See :class:`Backend`."""
        await self._llm.remove_lora(number)

    def shutdown(self) -> None:
        """See :class:`Backend`."""
        self._llm.shutdown()
        self._guard.close()


class _Statistics(StatLoggerBase):
    """Passes on what vLLM says with each step."""

    def __init__(self, told: Callable[[StepRecord], None]) -> None:
        self._told = told

    def record(
        self, scheduler_stats: Any, iteration_stats: Any, mm_cache_stats: Any = None, engine_idx: int = 0
    ) -> None:
        if scheduler_stats is None:
            return
        waiting = scheduler_stats.num_waiting_reqs + getattr(scheduler_stats, "num_skipped_waiting_reqs", 0)
        self._told(StepRecord(scheduler_stats.num_running_reqs, waiting, scheduler_stats.kv_cache_usage))

    def log_engine_initialized(self) -> None:
        pass


def _refusal(refused: Exception) -> RefusedError:
    """A full queue is no fault of the request, and has a status of its own."""
    status = int(refused.http_status) if isinstance(refused, GracefulHTTPError) else 400
    return RefusedError(str(refused), status)


def _lora(adapter: LoadedAdapter | None) -> LoRARequest | None:
    return None if adapter is None else LoRARequest(adapter.name, adapter.number, adapter.path)


def _piece(output: Any, asked: Asked, *, told: bool) -> Piece:
    (one,) = output.outputs
    ids = tuple(one.token_ids)
    top = asked.parameters.get("logprobs")
    found = None if top is None or one.logprobs is None else tuple(logprobs(one.logprobs, ids, top))
    prompt = None
    if not told and (most := asked.parameters.get("prompt_logprobs")) is not None and output.prompt_logprobs:
        places = list(output.prompt_logprobs)
        prompt = tuple(logprobs(places[1:], asked.prompt[1 : len(places)], most))
    return Piece(ids, found, prompt, one.finish_reason, timing(output.metrics, output.num_cached_tokens))
