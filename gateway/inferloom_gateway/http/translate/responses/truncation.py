"""Which turns give way, oldest first, when a conversation is too long for its model."""

from collections.abc import Sequence

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.translate.responses.turns import Turn

_STANDING = frozenset({pb.ROLE_SYSTEM, pb.ROLE_DEVELOPER})


def droppable(turns: Sequence[Turn]) -> list[list[Turn]]:
    """What can be left out, in the order in which it is: turns that belong together go together.

    First whole exchanges, from one turn of the user to the next; then, of the last exchange, steps of the
    assistant with the results of their calls. Standing instructions stay, and so do the last turn of the user
    and the last step.
    """
    exchanges = _groups([turn for turn in turns if turn.message.role not in _STANDING], pb.ROLE_USER)
    if not exchanges:
        return []
    *earlier, last = exchanges
    steps = _groups(last, pb.ROLE_ASSISTANT)
    begins_with_user = last[0].message.role == pb.ROLE_USER
    return earlier + steps[1 if begins_with_user else 0 : -1]


def reserve(max_output_tokens: int | None, context_length: int) -> int:
    """How many tokens of the context are kept free for the answer."""
    return context_length // 4 if max_output_tokens is None else max_output_tokens


def _groups(turns: Sequence[Turn], opener: pb.Role.ValueType) -> list[list[Turn]]:
    """Runs of turns, each but the first beginning with one of that role."""
    groups: list[list[Turn]] = []
    for turn in turns:
        if not groups or turn.message.role == opener:
            groups.append([])
        groups[-1].append(turn)
    return groups
