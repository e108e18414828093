"""GET /v1/models: the contract's models as OpenAI's, with the fields that FastChat's clients read."""

from collections.abc import Iterable

from inferloom.v1 import inference_pb2 as pb

_TASKS = {
    pb.TASK_CHAT: "chat",
    pb.TASK_COMPLETION: "completion",
    pb.TASK_EMBED: "embedding",
    pb.TASK_RERANK: "rerank",
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
        "supported_parameters": list(item.supported_parameters),
        "dtype": item.dtype,
        "quantization": item.quantization or None,
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
