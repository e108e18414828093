"""What a store of keys can do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol
from urllib.parse import urlsplit

from inferloom_gateway.access.api_key import ApiKey, Policy
from inferloom_gateway.access.keyring import Keyring

MOST_KEYS = 100_000
"""Keys in one store, revoked ones too."""

MOST_POLICIES = 10_000
"""Tenants and models, or patterns of such, that one store has limits of."""

USAGE_DAYS = 400
"""How long the usage of a day is kept."""

Kind = Literal["tenant", "model"]


class StoreError(OSError):
    """The store cannot be used; the message says why."""


class StoreFullError(StoreError):
    """The store takes no more of something; the message says of what."""


@dataclass(slots=True)
class Usage:
    """What one key used on one day (UTC, such as ``2026-01-31``)."""

    day: str
    key: str
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Flush:
    """Usage that is written at once."""

    writer: str
    """The process, by a name that no other has."""
    number: int
    """Higher than that of the process's flush before: each is counted once, however often it is written."""
    rows: Sequence[Usage]


class KeyStore(Protocol):
    """Keys, policies and usage. Methods block, may be called from any thread, and raise StoreError."""

    def revision(self) -> str:
        """What is another after every change of keys and policies."""

    def read(self) -> tuple[str, Keyring]:
        """The revision, and all keys and policies of it."""

    def put_key(self, key: ApiKey) -> None:
        """Add a key, or put another in the place of the one with its id."""

    def change_key(self, key_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey | None:
        """Make of a key what ``change`` says, in one step: nobody else changes it meanwhile, so that what
        another took back stays so. ``change`` may be asked again where somebody was faster. Return what the
        key is then; None: there is none."""

    def put_policy(self, kind: Kind, name: str, policy: Policy | None) -> None:
        """Lay down what holds for a tenant or a model, or a pattern of such; None: nothing any more."""

    def add_usage(self, flush: Flush) -> None:
        """Count what was used, unless it was counted already, and forget days that are over
        :data:`USAGE_DAYS` days old."""

    def usage(self, since: str) -> list[Usage]:
        """What was used on ``since`` and later, by day and key."""

    def close(self) -> None:
        """Let go of the store."""


def is_redis(where: str) -> bool:
    """Whether the place of a store is a Redis and not a file."""
    return urlsplit(where).scheme in ("redis", "rediss", "unix")


def shown_place(where: str) -> str:
    """The place of a store without a password in it."""
    parts = urlsplit(where)
    if not is_redis(where) or "@" not in parts.netloc:
        return where
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
