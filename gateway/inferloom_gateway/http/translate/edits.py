"""POST /v1/edits: an instruction and a text to a generation, and what it came to to one body."""

import re

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.schema.edits import EditRequest
from inferloom_gateway.http.translate import fields
from inferloom_gateway.http.translate.outcome import Outcome, why_cut
from inferloom_gateway.http.translate.usage import completion_usage

_CHAT = (
    "Do what the instruction says to the text below it. Answer with the changed text and nothing else.\n\n"
    "Instruction: {instruction}\n\nText:\n{input}"
)
_CHAT_WITHOUT = (
    "Write what the instruction says. Answer with the text and nothing else.\n\nInstruction: {instruction}"
)
_PLAIN = "Text:\n{input}\n\nInstruction:\n{instruction}\n\nThe text after the instruction was followed:\n"
_ENDS = ("\n\nInstruction:", "\n\nText:")
"""Where a model without turns begins with another example."""

_PROMPT = re.compile(r"^(text|input|chat(\..*)?)$")


def generation(body: EditRequest, request_id: str, *, chats: bool) -> pb.GenerateRequest:
    """The request for the edited texts, as a turn of a conversation where the model ``chats``, otherwise as a
    text to continue."""
    request = pb.GenerateRequest(
        model=body.model,
        request_id=request_id,
        sampling=pb.SamplingOptions(temperature=body.temperature, top_p=body.top_p or None, n=body.n),
    )
    if body.top_p == 0:  # OpenAI's least
        request.sampling.top_k = 1
    words = {"instruction": body.instruction, "input": body.input or ""}
    if chats:
        prompt = (_CHAT if body.input else _CHAT_WITHOUT).format(**words)
        request.chat.messages.add(role=pb.ROLE_USER, parts=[pb.ContentPart(text=prompt)])
    else:
        request.text = _PLAIN.format(**words)
        request.stopping.stop.extend(_ENDS)
    return request


def rename(path: str) -> str:
    """What callers call a field: the prompt is their ``input``."""
    return "input" if _PROMPT.match(path) else fields.of("edits")(path)


def answer(outcome: Outcome, created: int) -> dict[str, object]:
    """The response body."""
    return {
        "object": "edit",
        "created": created,
        "choices": [
            {
                "index": index,
                "text": "".join(choice.text),
                "finish_reason": choice.finish_reason,
                **why_cut(late=choice.late),
            }
            for index, choice in enumerate(outcome.choices)
        ],
        "usage": completion_usage(outcome.usage),
    }
