"""Requests of the REST façade as resumable streams keep them."""

from collections.abc import Callable
from typing import Any

import orjson

from inferloom.v1.inference_pb2 import GenerateRequest
from inferloom_gateway.http.schema.base import Body
from inferloom_gateway.http.schema.chat import ChatCompletionRequest
from inferloom_gateway.http.schema.completions import CompletionRequest
from inferloom_gateway.http.translate import chat, completions
from inferloom_gateway.http.translate.plan import Plan
from inferloom_gateway.storage.streams import KeptStream
from inferloom_gateway.streams.desk import Restore

SEVERAL = "completions of several prompts"
"""The endpoint that completions of several prompts are kept as: gateways from before them leave it alone."""

PLANS: dict[str, tuple[type[Body], Callable[[Any, str, int], Plan]]] = {
    "chat": (ChatCompletionRequest, chat.plan),
    "completions": (CompletionRequest, completions.plan),
    SEVERAL: (CompletionRequest, completions.plan),
}


def planned(kept: KeptStream) -> Plan:
    """What a kept request becomes, anew."""
    schema, plan = PLANS[kept.endpoint]
    return plan(schema.model_validate(orjson.loads(kept.body)), kept.id, kept.created)


def _asked(kept: KeptStream) -> list[GenerateRequest]:
    return [part.request for part in planned(kept).parts]


RESTORE: dict[str, Restore] = dict.fromkeys(PLANS, _asked)
