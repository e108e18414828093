"""How many things a request may hold, asked before anything is made of it.

Copying a repeated field into a list holds the GIL, and with it every event loop of the process, for as long
as it takes: 14 million numbers take seconds. A count costs nothing.
"""

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import invalid
from inferloom_worker.validate.checks import at_most
from inferloom_worker.validate.embed import input_too_long
from inferloom_worker.validate.generate import too_long

MAX_TOKENS = 2**18
"""Tokens that Tokenize returns and Detokenize takes, where the model's context is not longer."""

MAX_UNKNOWN_CONTEXT = 2**22
"""Tokens of a prompt for a model whose context's length is not known."""

MAX_TOKEN_IDS = 2**31 - 1
"""Stands for the size of a vocabulary that is not known."""

MAX_MESSAGES = 10_000
MAX_PARTS = 20_000
"""Content parts of all messages together."""
MAX_TOOLS = 1024
MAX_CHOICES = 128
MAX_VARIABLES = 1024
"""Template variables."""
MAX_INPUTS = 2048
"""Inputs of one Embed request."""
MAX_DOCUMENTS = 1024
"""Documents, or queries, of one Rerank request."""


def most_tokens(context_length: int) -> int:
    """Most tokens of one text outside of generating."""
    return max(MAX_TOKENS, context_length)


def check_token_count(param: str, count: int, most: int) -> None:
    """Refuse more than ``most`` tokens.

    Raises:
        InferloomError: INVALID_ARGUMENT, at ``param``.
    """
    if count > most:
        raise invalid(param, f"{param} has {count} tokens or more, and at most {most} are taken at once.")


def check_generate(request: pb.GenerateRequest, context_length: int) -> None:
    """Bound what a Generate request holds.

    Raises:
        InferloomError: CONTEXT_LENGTH_EXCEEDED for more tokens than the context; INVALID_ARGUMENT.
    """
    count = len(request.token_ids.ids)
    if request.HasField("truncate_prompt_tokens"):
        check_token_count("token_ids", count, most_tokens(context_length))
    elif count > context_length:
        raise too_long("token_ids", count, context_length)
    check_chat_counts(request.chat)
    if request.HasField("resume"):
        _check_resume(request.resume, context_length)


def _check_resume(resume: pb.Resume, context_length: int) -> None:
    at_most("resume.choices", len(resume.choices), MAX_CHOICES)
    lists = [("resume.prompt_token_ids", resume.prompt_token_ids)]
    lists += [(f"resume.choices[{i}].token_ids", each.token_ids) for i, each in enumerate(resume.choices)]
    for param, ids in lists:
        if len(ids) > context_length:
            limit = f"the model's context has {context_length}"
            raise invalid(param, f"{param} holds {len(ids)} tokens, and {limit}.")


def check_chat_counts(chat: pb.ChatInput) -> None:
    """Bound what a conversation holds.

    Raises:
        InferloomError: INVALID_ARGUMENT, at the field.
    """
    at_most("chat.messages", len(chat.messages), MAX_MESSAGES)
    at_most("chat.tools", len(chat.tools), MAX_TOOLS)
    if chat.HasField("tool_choice"):
        at_most("chat.tool_choice.allowed_names", len(chat.tool_choice.allowed_names), MAX_TOOLS)
    if chat.HasField("template"):
        at_most("chat.template.variables", len(chat.template.variables.fields), MAX_VARIABLES)
    parts = sum(len(message.parts) for message in chat.messages)
    if parts > MAX_PARTS:
        raise invalid(
            "chat.messages", f"chat.messages can have at most {MAX_PARTS} parts in all, not {parts}."
        )


def check_embed(request: pb.EmbedRequest, max_tokens: int) -> None:
    """Bound what an Embed request holds; ``max_tokens`` is what the model reads of one input.

    Raises:
        InferloomError: CONTEXT_LENGTH_EXCEEDED at an input that is not to be cut; INVALID_ARGUMENT.
    """
    at_most("inputs", len(request.inputs), MAX_INPUTS)
    for index, item in enumerate(request.inputs):
        param, count = f"inputs[{index}]", len(item.token_ids.ids)
        if count > max_tokens and not request.truncate:
            raise input_too_long(param, count, max_tokens)
        check_token_count(param, count, most_tokens(max_tokens))


def check_rerank(request: pb.RerankRequest) -> None:
    """Bound what a Rerank request holds.

    Raises:
        InferloomError: INVALID_ARGUMENT, at the field.
    """
    at_most("documents", len(request.documents), MAX_DOCUMENTS)
    at_most("queries", len(request.queries), MAX_DOCUMENTS)


def check_detokenize(request: pb.DetokenizeRequest, context_length: int) -> None:
    """Bound what a Detokenize request holds.

    Raises:
        InferloomError: INVALID_ARGUMENT.
    """
    check_token_count("token_ids", len(request.token_ids), most_tokens(context_length))
