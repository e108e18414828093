"""A response's body as a generation, and what the answer repeats of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.schema.responses import ResponseRequest, TextFormat
from inferloom_gateway.http.translate.options import TIERS, json_text, struct
from inferloom_gateway.http.translate.responses import tools
from inferloom_gateway.http.translate.responses.namespaces import flat
from inferloom_gateway.http.translate.responses.turns import Turn
from inferloom_gateway.http.translate.tools import missing
from inferloom_mesh.errors import invalid, shown, unsupported

LOGPROBS = "message.output_text.logprobs"
ENCRYPTED = "reasoning.encrypted_content"
_INCLUDABLE = frozenset({LOGPROBS, ENCRYPTED})


def included(include: Sequence[str] | None) -> frozenset[str]:
    """What an answer holds besides. Raises InferloomError for what there is not."""
    for index, name in enumerate(include or ()):
        if name not in _INCLUDABLE:
            raise unsupported(f"include[{index}]", f"Including '{shown(name)}' is not supported.")
    return frozenset(include or ())


def check(body: ResponseRequest) -> None:
    """Refuse what contradicts itself. Raises InferloomError."""
    included(body.include)
    if not body.input and body.previous_response_id is None:
        raise invalid("input", "Missing required parameter: 'input'.")
    if body.background and body.store is False:
        raise invalid("background", "background is only allowed when store is true: it is fetched later.")
    if (wanted := _format(body)) is None:
        return
    param = "text.format.schema"
    if wanted.type == "json_schema" and wanted.schema_ is None:
        raise missing(param)
    if wanted.type != "json_schema" and wanted.schema_ is not None:
        raise invalid(param, f"'{param}' is only allowed when the format's type is 'json_schema'.")


@dataclass(frozen=True, slots=True)
class Asked:
    """A generation that answers a response."""

    request: pb.GenerateRequest
    turns: Sequence[Turn]
    tools: Sequence[str]
    """What the caller calls its tools."""

    def tokenized(self) -> pb.TokenizeRequest:
        """What tells how many tokens its prompt has."""
        return pb.TokenizeRequest(model=self.request.model, chat=self.request.chat)

    def without(self, dropped: Sequence[Turn]) -> "Asked":
        """The same without some of its turns."""
        gone = {id(turn) for turn in dropped}
        kept = [turn for turn in self.turns if id(turn) not in gone]
        request = pb.GenerateRequest()
        request.CopyFrom(self.request)
        del request.chat.messages[:]
        request.chat.messages.extend(turn.message for turn in kept)
        return replace(self, request=request, turns=kept)


def generation(body: ResponseRequest, request_id: str, turns: Sequence[Turn]) -> Asked:
    """What workers are asked. Raises InferloomError for what the contract cannot express."""
    logprobs = LOGPROBS in (body.include or ()) or bool(body.top_logprobs)
    request = pb.GenerateRequest(
        model=body.model,
        request_id=request_id,
        chat=pb.ChatInput(
            messages=[turn.message for turn in turns],
            tools=tools.tools(body.tools),
            tool_choice=tools.tool_choice(body.tool_choice, body.tools),
            parallel_tool_calls=body.parallel_tool_calls,
            template=_template(body),
        ),
        sampling=_sampling(body),
        stopping=pb.StoppingOptions(max_tokens=body.max_output_tokens),
        constraint=_constraint(_format(body)),
        priority=TIERS.get(body.service_tier or ""),
        prompt_cache_key=body.prompt_cache_key or "",
        output=pb.OutputOptions(logprobs=True, top_logprobs=body.top_logprobs) if logprobs else None,
    )
    return Asked(request, turns, [placed.place for placed in flat(body.tools)])


def _sampling(body: ResponseRequest) -> pb.SamplingOptions:
    options = pb.SamplingOptions(temperature=body.temperature, top_p=body.top_p)
    if options.HasField("top_p") and options.top_p == 0:
        options.ClearField("top_p")
        options.top_k = 1
    return options


def _template(body: ResponseRequest) -> pb.TemplateOptions | None:
    variables: dict[str, Any] = {}
    if body.reasoning is not None and body.reasoning.effort is not None:
        variables["reasoning_effort"] = body.reasoning.effort
    if body.text is not None and body.text.verbosity is not None:
        variables["verbosity"] = body.text.verbosity
    return pb.TemplateOptions(variables=struct("reasoning", variables)) if variables else None


def _format(body: ResponseRequest) -> TextFormat | None:
    return None if body.text is None else body.text.format


def _constraint(wanted: TextFormat | None) -> pb.Constraint | None:
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return pb.Constraint(json_object=True)
    return pb.Constraint(json_schema=json_text("text.format.schema", wanted.schema_))
