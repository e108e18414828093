"""Who calls, as far as the gateway knows."""

from dataclasses import dataclass

from inferloom_gateway.access.api_key import ApiKey
from inferloom_gateway.access.endpoints import opened
from inferloom_mesh.errors import InferloomError, Reason, shown

OPERATOR_ID = "operator"
"""In a key's place where a caller showed the mesh's secret."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a request comes from, made at its door.

    ``tenant`` owns what it stores and is whom its use counts for. Empty: keys are off, and everybody is one,
    or the mesh's operator calls. ``key_id`` names the API key that it showed, never the key itself. Empty:
    none.
    """

    tenant: str = ""
    key_id: str = ""
    key: ApiKey | None = None
    """What the key opens, and how much of it. None: everything."""
    share: float = 1.0
    """The tenant's part of a busy worker, in relation to other tenants'."""

    def check_endpoint(self, endpoint: str) -> None:
        """Make sure that an endpoint is open to it.

        Raises:
            InferloomError: Its key does not open it.
        """
        if self.key is not None and not opened(endpoint, self.key.endpoints):
            raise InferloomError(
                Reason.PERMISSION_DENIED,
                f"The API key {self.key_id} has no access to the endpoint '{endpoint}'.",
            )

    def check_model(self, model: str) -> None:
        """Make sure that a model is open to it.

        Raises:
            InferloomError: Its key does not open it.
        """
        if not self.may_use(model):
            raise InferloomError(
                Reason.PERMISSION_DENIED,
                f"The API key {self.key_id} has no access to the model '{shown(model)}'.",
            )

    def may_use(self, model: str) -> bool:
        """Whether a model is open to it."""
        return self.key is None or self.key.opens_model(model)


ANONYMOUS = Identity()
"""Everybody, while keys are off."""

OPERATOR = Identity(key_id=OPERATOR_ID)
"""Who has the mesh's secret."""
