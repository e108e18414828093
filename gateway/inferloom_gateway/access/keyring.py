"""The keys and policies as they were last read, and who a caller is by them. Pure; time is given in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from inferloom_gateway.access.api_key import ApiKey, Policy
from inferloom_gateway.access.key_text import PREFIX, fits, id_of
from inferloom_mesh.errors import InferloomError, Reason

_HOW = "Send it in the header 'Authorization: Bearer YOUR_KEY'."


@dataclass(frozen=True, slots=True)
class Keyring:
    """What one store holds."""

    keys: Mapping[str, ApiKey] = field(default_factory=dict)
    """By id."""
    tenants: Mapping[str, Policy] = field(default_factory=dict)
    """By name or pattern."""
    models: Mapping[str, Policy] = field(default_factory=dict)
    """By name or pattern."""
    _wild: tuple[tuple[str, ...], tuple[str, ...]] = field(init=False, repr=False, compare=False)
    """The patterns among the names of tenants and models, the longest first."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_wild", (_patterns(self.tenants), _patterns(self.models)))

    def key(self, text: str, now: float) -> ApiKey:
        """The key that a caller showed.

        Args:
            text: What came after ``Bearer``.
            now: Seconds since 1970.

        Raises:
            InferloomError: It is none of ours, or opens nothing any more. Only who has the whole key is told
                what became of it, and nothing of a key is repeated but its id.
        """
        if not text:
            raise InferloomError(Reason.INVALID_API_KEY, f"You didn't provide an API key. {_HOW}")
        name = id_of(text)
        key = self.keys.get(name)
        if not fits(text, key.digest if key is not None else None) or key is None:
            shown = f": {PREFIX}{name}-…" if name else ""
            raise InferloomError(Reason.INVALID_API_KEY, f"Incorrect API key provided{shown}.")
        return _active(key, now)

    def known(self, key_id: str, now: float) -> ApiKey:
        """A key that was shown before, by its id. Raises InferloomError if it opens nothing any more."""
        key = self.keys.get(key_id)
        if key is None:
            raise InferloomError(Reason.INVALID_API_KEY, f"The API key {key_id} is not there any more.")
        return _active(key, now)

    def tenant(self, name: str) -> Policy | None:
        """What holds for a tenant: what has its name, else the longest pattern that fits. None: nothing."""
        return self.tenants.get(name) or _fitting(name, self.tenants, self._wild[0])

    def model(self, name: str) -> Policy | None:
        """What holds for a model, likewise."""
        return self.models.get(name) or _fitting(name, self.models, self._wild[1])


def _patterns(policies: Mapping[str, Policy]) -> tuple[str, ...]:
    wild = (name for name in policies if any(sign in name for sign in "*?["))
    return tuple(sorted(wild, key=len, reverse=True))


def _fitting(name: str, policies: Mapping[str, Policy], patterns: tuple[str, ...]) -> Policy | None:
    return next((policies[pattern] for pattern in patterns if fnmatchcase(name, pattern)), None)


def _active(key: ApiKey, now: float) -> ApiKey:
    state = key.state(now)
    if state != "active":
        verb = "has been" if state == "revoked" else "has"
        raise InferloomError(Reason.INVALID_API_KEY, f"The API key {key.id} {verb} {state}.")
    return key


def bearer(authorizations: list[str]) -> str:
    """The key of a request's Authorization headers; empty: there is none.

    Raises:
        InferloomError: There are several, or one of another scheme.
    """
    if not authorizations:
        return ""
    scheme, _, text = authorizations[0].strip().partition(" ")
    if len(authorizations) > 1 or scheme.lower() != "bearer":
        raise InferloomError(Reason.INVALID_API_KEY, f"An API key is expected. {_HOW}")
    return text.strip()
