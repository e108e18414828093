"""Which workers can go on with what another has begun. Pure."""

from collections.abc import Sequence

from inferloom.v1.inference_pb2 import (
    CONTINUITY_EXACT,
    CONTINUITY_NONE,
    CONTINUITY_TOKENS,
    GenerateRequest,
    Model,
    ToolChoiceMode,
)
from inferloom_gateway.fleet.ask import Ask
from inferloom_gateway.fleet.members import Member

RESUME = "resume"
"""What cards of models list that go on from committed tokens."""

_TOOLS = "tools"


def movable(begun: Model, asked: GenerateRequest) -> bool:
    """Whether what a worker has begun may go on at another one, as its card says (``Model.continuation``).

    Where other tokens may follow than would have, it does not for a caller who draws and has named a seed to
    get the same ones.
    """
    said = begun.continuation
    if said.continuity == CONTINUITY_NONE or _uses(asked, said.without):
        return False
    return not (said.continuity == CONTINUITY_TOKENS and asked.sampling.HasField("seed") and _draws(asked))


def able(members: Sequence[Member], begun: Model, *, seeded: bool) -> list[Member]:
    """Those of ``members`` that can go on with a generation that is :func:`movable`.

    Under one compute hash, and so within one instruction set, it goes on as the card says. Under another the
    next tokens may differ from those that would have come, in the last bits of what they are drawn from: that
    is a continuation all the same where none with the same hash is left, but not for a caller who has named a
    seed to get the same tokens.

    Args:
        members: Workers that compute the model alike, but for that.
        begun: The card of the worker that began.
        seeded: Whether the caller has named a seed.
    """
    cards = [(member, member.models[begun.id]) for member in members if begun.id in member.models]
    found = [
        (member, card)
        for member, card in cards
        if RESUME in card.supported_parameters
        and card.context_length == begun.context_length
        and _promise(card) == _promise(begun)
    ]
    same = [member for member, card in found if _computed_with(card) == _computed_with(begun)]
    return same if same or seeded else [member for member, _ in found]


def _computed_with(card: Model) -> tuple[str, str]:
    return card.instruction_set, card.compute_hash


def _promise(card: Model) -> tuple[int, frozenset[str]]:
    said = card.continuation
    return said.continuity or CONTINUITY_EXACT, frozenset(said.without)


def _uses(asked: GenerateRequest, names: Sequence[str]) -> bool:
    """Whether the request asks for something under one of these names; a number 0 asks for nothing."""
    given = Ask(asked.model, request=asked).needs(frozenset(names))
    if asked.chat.tool_choice.mode == ToolChoiceMode.TOOL_CHOICE_MODE_NONE:
        given -= {_TOOLS}
    return any(getattr(asked.sampling, name, None) != 0 for name in given)


def _draws(asked: GenerateRequest) -> bool:
    sampling = asked.sampling
    greedy = sampling.HasField("temperature") and sampling.temperature == 0
    return not (greedy or sampling.top_k == 1)
