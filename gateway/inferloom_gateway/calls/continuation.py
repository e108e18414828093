"""Which workers can go on with what another has begun. Pure."""

from collections.abc import Sequence

from inferloom.v1.inference_pb2 import Model
from inferloom_gateway.fleet.members import Member

RESUME = "resume"
"""What cards of models list that go on from committed tokens."""


def able(members: Sequence[Member], begun: Model, *, seeded: bool) -> list[Member]:
    """Those of ``members`` that can go on with a generation.

    Within one instruction set it goes on exactly. On another the next tokens may differ from those that would
    have come, in the last bits of what they are drawn from: that is a continuation all the same where none of
    the same set is left, but not for a caller who has named a seed to get the same tokens.

    Args:
        members: Workers that compute the model alike, but for that.
        begun: The card of the worker that began.
        seeded: Whether the caller has named a seed.
    """
    cards = [(member, member.models[begun.id]) for member in members if begun.id in member.models]
    found = [
        (member, card)
        for member, card in cards
        if RESUME in card.supported_parameters and card.context_length == begun.context_length
    ]
    same = [member for member, card in found if card.instruction_set == begun.instruction_set]
    return same if same or seeded else [member for member, _ in found]
