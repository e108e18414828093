"""The keys and policies as they were last read, and who a caller is by them. Pure; time is given in."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from inferloom_gateway.access.api_key import ApiKey, Policy, best_match
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
        """What holds for a tenant; None: nothing was laid down."""
        found = best_match(name, tuple(self.tenants))
        return None if found is None else self.tenants[found]

    def model(self, name: str) -> Policy | None:
        """What holds for a model; None: nothing was laid down."""
        found = best_match(name, tuple(self.models))
        return None if found is None else self.models[found]


def _active(key: ApiKey, now: float) -> ApiKey:
    if (state := key.state(now)) != "active":
        raise InferloomError(
            Reason.INVALID_API_KEY,
            f"The API key {key.id} has been {state}."
            if state == "revoked"
            else f"The API key {key.id} has expired.",
        )
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
