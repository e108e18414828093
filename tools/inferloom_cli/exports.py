"""The line that points a shell at a mesh. Pure."""

import shlex
from pathlib import Path

from inferloom_mesh.net import Address


def export_line(
    grpc: Address,
    registry: Address,
    called: tuple[Address, Address],
    secret_file: str = "",
    operator: Path | None = None,
) -> str | None:
    """What to export so that the other commands find this mesh; None where they do so by themselves.

    Args:
        grpc: Where the gateway's gRPC port can be called.
        registry: Where the registry can be called.
        called: Where the commands would look for both.
        secret_file: Where the mesh's secret is, if that is in no settings.
        operator: Folder with a certificate to show, if the mesh asks for one.
    """
    said = (
        [] if (grpc, registry) == called else [f"INFERLOOM_GATEWAY={grpc}", f"INFERLOOM_REGISTRY={registry}"]
    )
    if secret_file:
        said.append(f"INFERLOOM_MESH_SECRET_FILE={shlex.quote(secret_file)}")
    if operator is not None:
        said.append(f"INFERLOOM_TLS={shlex.quote(str(operator))}")
    return f"export {' '.join(said)}" if said else None
