"""What `inferloom keys` can be told."""

from inferloom_mesh.settings import ServiceSettings


class KeySettings(ServiceSettings):
    """Where keys are kept, as the gateway's setting of the same name says."""

    keys: str | None = None
