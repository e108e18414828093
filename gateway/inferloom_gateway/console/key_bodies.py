"""What is asked of the key desk: bodies of requests."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, StringConstraints

from inferloom_gateway.access.api_key import MOST_AT_ONCE, MOST_PER_MINUTE, Limits
from inferloom_gateway.http.schema.base import Body, Part

LimitedKind = Literal["key", "tenant", "model"]
"""What has limits."""

Pattern = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Rate = Annotated[int, Field(ge=0, le=MOST_PER_MINUTE)]
AtOnce = Annotated[int, Field(ge=0, le=MOST_AT_ONCE)]


class NewLimits(Part):
    """How much a new key may be used; what is not said is not limited."""

    model_config = ConfigDict(strict=True, extra="forbid")

    requests_per_minute: Rate | None = None
    tokens_per_minute: Rate | None = None
    concurrent: AtOnce | None = None


class NewKey(Body):
    """A key that is to be made."""

    endpoint: ClassVar[str] = "console"

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    tenant: Annotated[str, StringConstraints(max_length=64)] = "default"
    name: Annotated[str, StringConstraints(max_length=200)] = ""
    models: Annotated[list[Pattern], Field(max_length=64)] = Field(default_factory=list)
    endpoints: Annotated[list[str], Field(max_length=64)] = Field(default_factory=list)
    expires_in_s: Annotated[float, Field(gt=0, le=10 * 366 * 86_400)] | None = None
    limits: NewLimits = Field(default_factory=NewLimits)


class LaidDown(Body):
    """All that is to hold for a key, a tenant or a model from now on; what is not said is not limited."""

    endpoint: ClassVar[str] = "console"

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    kind: LimitedKind
    name: Pattern
    """A key's id, or a name or pattern of tenants or models."""
    requests_per_minute: Rate | None = None
    tokens_per_minute: Rate | None = None
    concurrent: AtOnce | None = None
    share: Annotated[float, Field(ge=0.001, le=1000)] | None = None
    """Of tenants only; where it is not said, 1."""

    @property
    def limits(self) -> Limits:
        """The limits among it."""
        return Limits(self.requests_per_minute, self.tokens_per_minute, self.concurrent)
