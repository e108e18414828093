"""Which worker takes a request. Pure.

Requests whose prompts begin alike go to the same worker, which then has their prefix in its cache; no worker
gets more than its share of the load by that. In detail: rendezvous hashing of the prompt's leading part
orders the workers, and the first whose load stays under 1.25 times the fair share is taken.
"""

from collections.abc import Callable, Container, Sequence
from hashlib import blake2b

from inferloom.v1 import inference_pb2
from inferloom_gateway.fleet.members import Member

BOUND = 1.25
"""How far over the fair share of the load a worker may go before requests spill over to the next."""

LEADING_CHARACTERS = 1024
"""Characters of each of a prompt's texts that are hashed."""

LEADING_TOKENS = 256
"""Token ids of a prompt that are hashed."""

_MASK = 2**64 - 1


def candidates(
    members: Sequence[Member],
    model: str,
    task: "inference_pb2.Task.ValueType | None",
    now: float,
    tried: Container[Member] = (),
) -> list[Member]:
    """The workers that may take a request: usable, able to do ``task`` (None: any), not yet tried.

    Workers that something speaks against are only used when there is no other, and those that have just said
    'not now' for this model only after these.
    """
    usable = [
        m for m in members if m.usable and m not in tried and (task is None or task in m.models[model].tasks)
    ]
    willing = [m for m in usable if not m.health.refuses(model, now)]
    return [m for m in willing if m.preferred(now)] or willing or usable


def choose(members: Sequence[Member], key: Callable[[], int] | None) -> Member:
    """Pick one of at least one workers; ``key`` hashes the prompt's leading part (None: no affinity)."""
    if len(members) == 1:
        return members[0]
    if key is None:
        return min(members, key=lambda m: (m.load / m.capacity, m.in_flight, m.id))
    hashed = key()
    share = BOUND * (sum(m.load for m in members) + 1) / sum(m.capacity for m in members)
    order = sorted(members, key=lambda m: _mix(hashed ^ m.hash), reverse=True)
    return next(m for m in order if m.load < share * m.capacity)  # not all can be over the mean


def prompt_key(request: inference_pb2.GenerateRequest) -> int:
    """Hash what a prompt begins with, or the name that the request gives prompts which begin alike.

    For a conversation that is everything up to its first user turn: the same for all of its turns, and
    different for two conversations that share only a system prompt.
    """
    digest = blake2b(request.model.encode(), digest_size=8)
    digest.update(request.cache_salt.encode())
    if request.prompt_cache_key:
        digest.update(b"\0" + request.prompt_cache_key.encode())
        return int.from_bytes(digest.digest())
    match request.WhichOneof("input"):
        case "chat":
            for message in request.chat.messages:
                for part in message.parts:
                    digest.update(part.text[:LEADING_CHARACTERS].encode())
                if message.role == inference_pb2.ROLE_USER:
                    break
        case "text":
            digest.update(request.text[:LEADING_CHARACTERS].encode())
        case "token_ids":
            for token in request.token_ids.ids[:LEADING_TOKENS]:
                digest.update(token.to_bytes(4))
    return int.from_bytes(digest.digest())


def _mix(value: int) -> int:
    """Scramble 64 bits (the finaliser of splitmix64)."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
