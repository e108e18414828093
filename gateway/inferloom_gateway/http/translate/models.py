"""GET /v1/models: the contract's models as OpenAI's, with the fields that FastChat's clients read."""

from collections.abc import Iterable, Sequence

from inferloom.parameter_table import Meaning, RestEndpoint
from inferloom.parameters import ENDPOINTS, FIELDS
from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.fleet.members import Member
from inferloom_mesh.durations import seconds

_TASKS = {
    pb.TASK_CHAT: "chat",
    pb.TASK_COMPLETION: "completion",
    pb.TASK_EMBED: "embedding",
    pb.TASK_RERANK: "rerank",
}
_ENDPOINTS: dict["pb.Task.ValueType", str] = {
    pb.TASK_CHAT: "chat",
    pb.TASK_COMPLETION: "completions",
    pb.TASK_EMBED: "embeddings",
}


def _optional(endpoint: RestEndpoint) -> list[tuple[str, str]]:
    """The parameters that depend on the model, each with what its card calls it."""
    optional = {
        row.path: row for row in FIELDS if row.request == endpoint.request and row.honoured_by is not None
    }
    found: list[tuple[str, str]] = []
    for row in endpoint.parameters.values():
        if row.meaning is not Meaning.FIELD or "." in row.name:
            continue
        around, _, name = row.field.rpartition(".")
        if row.field in optional:
            found.append((row.name, optional[row.field].capability))
        elif around in optional and optional[around].type == "Struct":
            found.append((row.name, name))  # a variable, which the model's template reads or not
    return found


_OPTIONAL = {
    task: _optional(next(each for each in ENDPOINTS if each.name == name))
    for task, name in _ENDPOINTS.items()
}


def model_list(models: Iterable[pb.Model]) -> dict[str, object]:
    """All models."""
    return {"object": "list", "data": [model(item) for item in models]}


def model(item: pb.Model) -> dict[str, object]:
    """One model."""
    created = item.created.seconds
    return {
        "id": item.id,
        "object": "model",
        "created": created,
        "owned_by": item.owned_by or "inferloom",
        "root": item.root or item.id,
        "parent": item.parent or None,
        "permission": [_permission(item.id, created)],
        "context_length": item.context_length,
        "max_model_len": item.context_length,
        "capabilities": [_TASKS[task] for task in item.tasks if task in _TASKS],
        "embedding_dimensions": item.embedding_dimensions or None,
        "supported_parameters": _parameters(item),
        "constraints": list(item.constraints),
        "sampling_defaults": _defaults(item.sampling_defaults),
        "dtype": item.dtype,
        "quantization": item.quantization or None,
    }


def detail(item: pb.Model, members: Iterable[Member], aliases: Sequence[str]) -> dict[str, object]:
    """One model with everything that is known of it.

    Args:
        item: Its card, as one of its workers shows it.
        members: The workers that hold or load it.
        aliases: Its other names.
    """
    return {
        **model(item),
        "architecture": item.architecture or None,
        "engine": item.engine or None,
        "server": item.server or None,
        "instruction_set": item.instruction_set or None,
        "vocabulary_size": item.vocabulary_size or None,
        "weights_hash": item.weights_hash or None,
        "compute_hash": item.compute_hash or None,
        "tokenizer_hash": item.tokenizer_hash or None,
        "chat_template_hash": item.chat_template_hash or None,
        "tool_format": item.tool_format or None,
        "reasoning_format": item.reasoning_format or None,
        "continuation": _continuation(item),
        "longest_step_s": seconds(item.longest_step) if item.HasField("longest_step") else None,
        "adapters": list(item.adapters),
        "alias_of": item.alias_of or None,
        "aliases": list(aliases),
        "workers": [_worker(item.id, member) for member in sorted(members, key=lambda each: each.id)],
    }


def _worker(model_id: str, member: Member) -> dict[str, object]:
    card = member.models.get(model_id)
    state = "starting" if member.starting else "ready" if member.ready else "draining"
    return {
        "id": member.id,
        "state": "loading" if card is None else state,
        "lease": "active" if member.suspect_since is None else "suspect",
        "reachable": member.health.reachable,
        "capacity": member.capacity,
        "load": member.load,
        "compute_hash": (card.compute_hash or None) if card is not None else None,
    }


def _parameters(item: pb.Model) -> list[str]:
    """The optional parameters that the endpoints take for the model, in REST's words."""
    honoured, tasks = frozenset(item.supported_parameters), frozenset(item.tasks)
    names = (
        name
        for task, rows in _OPTIONAL.items()
        if task in tasks
        for name, capability in rows
        if capability in honoured
    )
    return list(dict.fromkeys(names))


def _defaults(options: pb.SamplingOptions) -> dict[str, float]:
    """What the model itself sets; numbers with the fewest digits that give the same float32 again."""
    return {field.name: float(f"{value:.7g}") for field, value in options.ListFields()}


def _continuation(item: pb.Model) -> dict[str, object] | None:
    if not item.continuation.continuity:
        return None
    name = pb.Continuity.Name(item.continuation.continuity)
    return {
        "continuity": name.removeprefix("CONTINUITY_").lower(),
        "without": list(item.continuation.without),
    }


def _permission(model_id: str, created: int) -> dict[str, object]:
    return {
        "id": f"modelperm-{model_id}",
        "object": "model_permission",
        "created": created,
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }
