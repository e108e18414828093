"""What prompts have in common with others, as two numbers. Pure."""

from hashlib import blake2b
from typing import NamedTuple

from inferloom.v1 import inference_pb2

LEADING_CHARACTERS = 1024
"""Characters of each of a prompt's texts that are hashed."""

LEADING_TOKENS = 256
"""Token ids of a prompt that are hashed."""

OWN_TIMES = 4
"""A text's own key reads so many times further than the one that it shares."""


class PromptKeys(NamedTuple):
    """Hashes of a prompt's beginning, at two lengths."""

    shared: int
    """Of what it may have in common with the prompts of others: instructions. 0: nothing is known."""
    own: int
    """Of what only its own later turns have in common with it."""
    later: bool = False
    """Whether it has turns that were answered, so that a worker may have its state."""


def prompt_keys(request: inference_pb2.GenerateRequest) -> PromptKeys:
    """Hash how a prompt begins.

    A conversation shares what comes before its first user turn; its own key is of that turn too, the same for
    all of its turns. A text shares its first :data:`LEADING_CHARACTERS`. Whatever they are, prompts share
    their ``prompt_cache_key``, where the request gives one.
    """
    digest = blake2b(request.model.encode(), digest_size=8)
    digest.update(request.cache_salt.encode())
    shared, later = 0, False
    if request.prompt_cache_key:
        digest.update(b"\0" + request.prompt_cache_key.encode())
        shared = int.from_bytes(digest.digest())
    match request.WhichOneof("input"):
        case "chat":
            messages = request.chat.messages
            for at, message in enumerate(messages):
                if message.role == inference_pb2.ROLE_USER and not shared:
                    shared = int.from_bytes(digest.digest()) if at else 0
                for part in message.parts:
                    digest.update(part.text[:LEADING_CHARACTERS].encode())
                if message.role == inference_pb2.ROLE_USER:
                    later = at + 1 < len(messages)
                    break
        case "text":
            text = request.text
            digest.update(text[:LEADING_CHARACTERS].encode())
            if len(text) > LEADING_CHARACTERS:
                shared = shared or int.from_bytes(digest.digest())
                digest.update(text[LEADING_CHARACTERS : OWN_TIMES * LEADING_CHARACTERS].encode())
        case "token_ids":
            ids = request.token_ids.ids
            for token in ids[:LEADING_TOKENS]:
                digest.update(token.to_bytes(4))
            if len(ids) > LEADING_TOKENS:
                shared = shared or int.from_bytes(digest.digest())
                for token in ids[LEADING_TOKENS : OWN_TIMES * LEADING_TOKENS]:
                    digest.update(token.to_bytes(4))
    return PromptKeys(shared, int.from_bytes(digest.digest()), later)
