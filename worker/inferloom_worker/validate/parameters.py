"""Which optional request fields are honoured: the one list behind refusals and models' cards."""

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import unsupported

GENERATE = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "logit_bias",
    "seed",
    "n",
    "max_tokens",
    "min_tokens",
    "stop",
    "stop_token_ids",
    "ignore_eos",
    "include_stop",
    "logprobs",
    "top_logprobs",
    "echo",
    "priority",
    "cache_salt",
)
"""What every generating model honours."""

CHAT = ("add_generation_prompt", "continue_final_message", "variables")
"""What a model with a chat template honours besides."""

EMBED = ("normalize", "truncate")
"""What every embedding model honours; ``dimensions`` is listed where a model's vectors may be cut."""


def refuse_unsupported(request: pb.GenerateRequest) -> None:
    """Refuse what the contract has and this worker does not do yet.

    Raises:
        InferloomError: UNSUPPORTED_PARAMETER, at the field.
    """
    if request.HasField("constraint"):
        raise unsupported("constraint", "Constrained output is not supported.")
    if request.HasField("resume"):
        raise unsupported("resume")
    if request.output.HasField("prompt_logprobs"):
        raise unsupported("output.prompt_logprobs")
    chat = request.chat
    if chat.tools:
        raise unsupported("chat.tools", "Tools are not supported.")
    if chat.HasField("tool_choice") and chat.tool_choice.mode != pb.TOOL_CHOICE_MODE_NONE:
        raise unsupported("chat.tool_choice", "Tools are not supported.")
