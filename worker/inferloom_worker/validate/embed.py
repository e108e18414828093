"""Embed requests."""

from collections.abc import Sequence
from dataclasses import dataclass

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason, invalid, unsupported
from inferloom_mesh.named_fields import named
from inferloom_worker.validate import checks
from inferloom_worker.validate.ranges import check_fields


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRequest:
    """An Embed request, valid but for its inputs' lengths, which are known when they are tokenised."""

    request_id: str
    inputs: Sequence[str | list[int]]
    dimensions: int
    normalize: bool
    truncate: bool


def read_embed(
    request: pb.EmbedRequest, *, vocab_size: int, dimensions: int, shortens: bool, normalizes: bool
) -> EmbeddingRequest:
    """Check every field of a request.

    Args:
        request: The request.
        vocab_size: Tokens of the model.
        dimensions: Length of its vectors.
        shortens: Whether its vectors may be cut.
        normalizes: Whether it scales them to unit length where nothing is said.

    Raises:
        InferloomError: INVALID_ARGUMENT or UNSUPPORTED_PARAMETER, at the field.
    """
    check_fields(request)
    wanted = request.dimensions if request.HasField("dimensions") else dimensions
    checks.between("dimensions", wanted, 1, dimensions)
    if wanted != dimensions and not shortens:
        raise unsupported(
            "dimensions", f"The model's vectors have {dimensions} dimensions and cannot be cut."
        )
    return EmbeddingRequest(
        request_id=checks.request_id(request.request_id),
        inputs=[_input(f"inputs[{i}]", item, vocab_size) for i, item in enumerate(request.inputs)],
        dimensions=wanted,
        normalize=request.normalize if request.HasField("normalize") else normalizes,
        truncate=request.truncate,
    )


def input_too_long(param: str, tokens: int, most: int) -> InferloomError:
    """The error for an input that the model cannot read whole, in OpenAI's sentence, which clients read."""
    return InferloomError(
        Reason.CONTEXT_LENGTH_EXCEEDED,
        f"This model's maximum context length is {most} tokens, however you requested "
        f"{tokens} tokens ({tokens} in {named(param)}). Please reduce the length of the input.",
        param=param,
    )


def _input(param: str, item: pb.EmbedInput, vocab_size: int) -> str | list[int]:
    match item.WhichOneof("input"):
        case "text":
            return item.text
        case "token_ids":
            return checks.token_ids(f"{param}.token_ids.ids", item.token_ids.ids, vocab_size)
        case _:
            raise invalid(param, f"{param} holds nothing.")
