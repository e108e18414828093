"""What a request may cost in tokens, before anybody has tokenised it. Pure."""

from dataclasses import dataclass

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls.link import UnaryRequest

BYTES_PER_TOKEN = 4
"""Of text in most languages and of most tokenizers; what is wrong with it is settled at the end."""

SILENT_PART = 10
"""Who says nothing of max_tokens is counted with this part of the model's context for an answer."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Tokens."""

    prompt: int
    least: int
    """The prompt and what the request itself says of its answer."""
    wanted: int
    """The same with a guess at answers whose length the request leaves open."""

    def within(self, most: int | None) -> int:
        """What to reserve where a minute has ``most`` tokens: the guess is not held against a request that
        fits without it."""
        return self.wanted if most is None else min(self.wanted, max(self.least, most))


NOTHING = Cost(0, 0, 0)


def cost_of(request: pb.GenerateRequest | pb.EmbedRequest | UnaryRequest, context_length: int) -> Cost:
    """The cost of a request to a model whose context has ``context_length`` tokens."""
    if isinstance(request, pb.GenerateRequest):
        prompt = _prompt(request)
        answers = max(1, request.sampling.n)
        if request.stopping.HasField("max_tokens"):
            least = prompt + answers * min(request.stopping.max_tokens, context_length or 2**32)
            return Cost(prompt, least, least)
        return Cost(prompt, prompt, prompt + answers * (context_length // SILENT_PART))
    if isinstance(request, pb.EmbedRequest):
        prompt = sum(
            len(item.token_ids.ids) if item.HasField("token_ids") else _tokens(item.ByteSize())
            for item in request.inputs
        )
        return Cost(prompt, prompt, prompt)
    if isinstance(request, pb.RerankRequest):  # each document is read together with the query
        prompt = _tokens(request.ByteSize() + len(request.query) * max(0, len(request.documents) - 1))
        return Cost(prompt, prompt, prompt)
    return NOTHING


def _prompt(request: pb.GenerateRequest) -> int:
    if request.HasField("token_ids"):
        return len(request.token_ids.ids)
    return _tokens(request.ByteSize())


def _tokens(size: int) -> int:
    return -(-size // BYTES_PER_TOKEN)
