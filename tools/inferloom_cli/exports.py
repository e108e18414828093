"""The line that points a shell at a mesh. Pure."""

from inferloom_mesh.net import Address


def export_line(grpc: Address, registry: Address, called: tuple[Address, Address]) -> str | None:
    """What to export so that the other commands find this mesh; None where they do so by themselves.

    Args:
        grpc: Where the gateway's gRPC port can be called.
        registry: Where the registry can be called.
        called: Where the commands would look for both.
    """
    if (grpc, registry) == called:
        return None
    return f"export INFERLOOM_GATEWAY={grpc} INFERLOOM_REGISTRY={registry}"
