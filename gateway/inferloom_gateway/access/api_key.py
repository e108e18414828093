"""What an operator lays down: keys, and the limits of keys, tenants and models. Pure."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from typing import Any

ANY = "*"

MOST_PER_MINUTE = 10**12
MOST_AT_ONCE = 10**6

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class UnfitError(ValueError):
    """A key, a tenant or a limit cannot be as it was given; the message says why."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be asked for. None: as much as anybody likes.

    Minutes are sliding: what counts is the last 60 s at every moment.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    """Tokens of prompts and answers together."""
    concurrent: int | None = None
    """Requests that run at once, streams among them."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            most = MOST_AT_ONCE if field.name == "concurrent" else MOST_PER_MINUTE
            if value is not None and not 0 <= value <= most:
                raise UnfitError(f"{field.name} must be from 0 to {most}")

    @property
    def any(self) -> bool:
        """Whether anything is limited."""
        return self != NO_LIMITS

    def times(self, share: float) -> "Limits":
        """Rates for a gateway that has ``share`` of all requests: rounded down, but not to nothing."""

        def part(value: int | None) -> int | None:
            return value if not value else max(1, int(value * share))

        return Limits(part(self.requests_per_minute), part(self.tokens_per_minute), part(self.concurrent))


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for a tenant or a model, all keys together."""

    limits: Limits = NO_LIMITS
    share: float = 1.0
    """A tenant's part of a busy worker in relation to other tenants' (their default: 1)."""

    def __post_init__(self) -> None:
        if not 0.001 <= self.share <= 1000:
            raise UnfitError("share must be from 0.001 to 1000")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key, without the key itself. Moments are seconds since 1970."""

    id: str
    digest: str
    """SHA-256 of the key, in hexadecimal digits."""
    tenant: str
    name: str = ""
    """What people call it."""
    created: float = 0.0
    expires: float | None = None
    """From then on it opens nothing. None: never."""
    revoked: float | None = None
    """When it was taken back. None: it was not."""
    models: tuple[str, ...] = (ANY,)
    """Names of models that it may use, with ``*``, ``?`` and ``[...]`` as in a shell."""
    endpoints: tuple[str, ...] = ()
    """Names of endpoints that it may use, see :mod:`~inferloom_gateway.access.endpoints`. Empty: all but
    those that must be named."""
    limits: Limits = NO_LIMITS

    def opens_model(self, model: str) -> bool:
        """Whether it may use a model."""
        return any(fnmatchcase(model, pattern) for pattern in self.models)

    def state(self, now: float) -> str:
        """``active``, ``expired`` or ``revoked``."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and now >= self.expires else "active"


def check_tenant(name: str) -> str:
    """A tenant's name as it is.

    Raises:
        UnfitError: It is not 1 to 64 letters, digits, dots, dashes and underscores.
    """
    if not _TENANT.fullmatch(name):
        raise UnfitError(
            f"{name[:80]!r} is no tenant's name: 1 to 64 letters, digits, dots, dashes and underscores"
        )
    return name


def to_plain(value: ApiKey | Policy) -> dict[str, Any]:
    """A key or a policy as JSON has it."""
    return asdict(value)


def key_from(plain: Mapping[str, Any]) -> ApiKey:
    """A key that :func:`to_plain` made. What a newer version added is left out."""
    known = {field.name: plain[field.name] for field in fields(ApiKey) if field.name in plain}
    for name in ("models", "endpoints"):
        known[name] = tuple(known.get(name) or ())
    return ApiKey(**{**known, "limits": _limits_from(plain.get("limits") or {})})


def policy_from(plain: Mapping[str, Any]) -> Policy:
    """A policy that :func:`to_plain` made."""
    return Policy(_limits_from(plain.get("limits") or {}), plain.get("share", 1.0))


def _limits_from(plain: Mapping[str, Any]) -> Limits:
    return Limits(**{field.name: plain.get(field.name) for field in fields(Limits)})
