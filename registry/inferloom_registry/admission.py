"""What a worker may say of itself. Pure; the address, which may need a name looked up, is checked apart."""

import math
import re
from collections.abc import Iterable, Sequence

from inferloom.v1 import inference_pb2
from inferloom.v1 import registry_pb2 as pb
from inferloom_mesh.errors import InferloomError, invalid

MAX_MODELS = 256
MAX_MODEL_ID = 256
MAX_LABELS = 32
MAX_LABEL_NAME = 63
MAX_LABEL_VALUE = 256
MAX_VERSION = 64
MAX_CAPACITY = 65_536
MAX_BYTES = 512 * 1024
"""Largest description of a worker or of its models: every watcher is sent it."""
MAX_TOKENS_PER_SECOND = 1e9

MAX_EPOCH = 2**53
"""Highest epoch that a worker may say it has held: far below what the field can hold."""

_WORKER_ID = re.compile(r"[a-z0-9.-]{1,63}")


def refusal(param: str, rule: str) -> InferloomError:
    """The error for a field that breaks ``rule``, which reads on from the field's name."""
    return invalid(param, f"{param} {rule}.")


def check_worker(worker: pb.Worker) -> None:
    """Check a worker that registers, all but its address.

    Raises:
        InferloomError: INVALID_ARGUMENT, with the field at fault below ``worker``.
    """
    if not _WORKER_ID.fullmatch(worker.id):
        raise refusal("worker.id", "must be 1 to 63 lower-case letters, digits, dots and dashes")
    check_size(worker, "worker")
    check_capacity(worker.capacity, 1, "worker.capacity")
    if worker.state == pb.WORKER_STATE_UNSPECIFIED:
        raise refusal("worker.state", "must be set")
    check_state(worker.state, "worker.state")
    check_models(worker.models, "worker.models")
    check_loading(worker.loading, "worker.loading")
    if len(worker.version) > MAX_VERSION:
        raise refusal("worker.version", f"must be at most {MAX_VERSION} characters long")
    if len(worker.labels) > MAX_LABELS:
        raise refusal("worker.labels", f"must be at most {MAX_LABELS} labels")
    for name, value in worker.labels.items():
        if not 1 <= len(name) <= MAX_LABEL_NAME or len(value) > MAX_LABEL_VALUE:
            limits = f"names of 1 to {MAX_LABEL_NAME} and values of at most {MAX_LABEL_VALUE} characters"
            raise refusal("worker.labels", f"must have {limits}")


def check_size(message: pb.Worker | pb.ModelSet, param: str) -> None:
    """Check that a message, unknown fields included, is small enough to keep and to send to every watcher.

    Raises:
        InferloomError: INVALID_ARGUMENT, with ``param`` as the field at fault.
    """
    if message.ByteSize() > MAX_BYTES:
        raise refusal(param, f"must take at most {MAX_BYTES} bytes")


def check_state(state: pb.WorkerState.ValueType, param: str) -> None:
    """Check a state, which may be unspecified.

    Raises:
        InferloomError: INVALID_ARGUMENT, with ``param`` as the field at fault.
    """
    if state not in pb.WorkerState.values():
        raise refusal(param, f"must be a state, not {state}")


def check_models(models: Iterable[inference_pb2.Model], param: str) -> None:
    """Check the models that a worker holds.

    Raises:
        InferloomError: INVALID_ARGUMENT, with ``param`` or a field below it as the field at fault.
    """
    ids = [model.id for model in models]
    if len(ids) > MAX_MODELS:
        raise refusal(param, f"must be at most {MAX_MODELS} models")
    for index, model_id in enumerate(ids):
        check_model_id(model_id, f"{param}[{index}].id")
    if len(set(ids)) < len(ids):
        raise refusal(param, "must not name a model twice")


def check_loading(names: Sequence[str], param: str) -> None:
    """Check the names of models that a worker is loading.

    Raises:
        InferloomError: INVALID_ARGUMENT, with ``param`` or a place in it as the field at fault.
    """
    if len(names) > MAX_MODELS:
        raise refusal(param, f"must be at most {MAX_MODELS} models")
    for index, name in enumerate(names):
        check_model_id(name, f"{param}[{index}]")


def check_model_id(name: str, param: str) -> None:
    """Check a model's name.

    Raises:
        InferloomError: INVALID_ARGUMENT, with ``param`` as the field at fault.
    """
    if not 1 <= len(name) <= MAX_MODEL_ID or not name.isprintable():
        raise refusal(param, f"must be 1 to {MAX_MODEL_ID} characters that can be printed")


def check_capacity(capacity: int, least: int, param: str) -> None:
    """Check how many requests a worker says it runs at once, ``least`` or more.

    Raises:
        InferloomError: INVALID_ARGUMENT, with ``param`` as the field at fault.
    """
    if not least <= capacity <= MAX_CAPACITY:
        raise refusal(param, f"must be from {least} to {MAX_CAPACITY}")


def check_load(load: pb.Load, param: str = "load") -> None:
    """Check what a worker says of its load.

    Raises:
        InferloomError: INVALID_ARGUMENT, with a field below ``param`` as the field at fault.
    """
    rate = load.tokens_per_second
    if not math.isfinite(rate) or not 0 <= rate <= MAX_TOKENS_PER_SECOND:
        raise refusal(f"{param}.tokens_per_second", f"must be from 0 to {MAX_TOKENS_PER_SECOND:.0f}")
    if load.free_kv_tokens > load.total_kv_tokens:
        raise refusal(f"{param}.free_kv_tokens", "must be at most total_kv_tokens")


def check_epoch(previous_epoch: int) -> None:
    """Check the epoch that a worker says it has held; 0: none.

    Raises:
        InferloomError: INVALID_ARGUMENT, with ``previous_epoch`` as the field at fault.
    """
    if previous_epoch > MAX_EPOCH:
        raise refusal("previous_epoch", f"must be at most {MAX_EPOCH}")
