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


def prompt_keys(request: inference_pb2.GenerateRequest) -> PromptKeys:
    """Hash how a prompt begins, or the name that the request gives prompts which begin alike.

    A conversation shares what comes before its first user turn; its own key is of that turn too, the same for
    all of its turns. A text shares its first :data:`LEADING_CHARACTERS`.
    """
    digest = blake2b(request.model.encode(), digest_size=8)
    digest.update(request.cache_salt.encode())
    if request.prompt_cache_key:
        # Only the caller knows how alike these prompts are, and how much they share with others.
        digest.update(b"\0" + request.prompt_cache_key.encode())
        return PromptKeys(0, int.from_bytes(digest.digest()))
    shared = 0
    match request.WhichOneof("input"):
        case "chat":
            for message in request.chat.messages:
                if message.role == inference_pb2.ROLE_USER and not shared:
                    shared = int.from_bytes(digest.digest()) if message is not request.chat.messages[0] else 0
                for part in message.parts:
                    digest.update(part.text[:LEADING_CHARACTERS].encode())
                if message.role == inference_pb2.ROLE_USER:
                    break
        case "text":
            text = request.text
            digest.update(text[:LEADING_CHARACTERS].encode())
            if len(text) > LEADING_CHARACTERS:
                shared = int.from_bytes(digest.digest())
                digest.update(text[LEADING_CHARACTERS : OWN_TIMES * LEADING_CHARACTERS].encode())
        case "token_ids":
            ids = request.token_ids.ids
            for token in ids[:LEADING_TOKENS]:
                digest.update(token.to_bytes(4))
            if len(ids) > LEADING_TOKENS:
                shared = int.from_bytes(digest.digest())
                for token in ids[LEADING_TOKENS : OWN_TIMES * LEADING_TOKENS]:
                    digest.update(token.to_bytes(4))
    return PromptKeys(shared, int.from_bytes(digest.digest()))
