"""The certificate with which ``inferloom up`` calls its own gateway, where that asks callers for one."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from inferloom_cli.refusal import MISUSED, RefusedError
from inferloom_mesh.roles import Role
from inferloom_mesh.tls_files import TlsFiles
from inferloom_mesh.tls_reading import TlsError, is_from, read_certificates

if TYPE_CHECKING:
    from inferloom_gateway.settings import GatewaySettings


def own_caller(gateway: "GatewaySettings", certs: Path | None) -> Path | None:
    """The folder with a certificate that the gateway takes. None: it asks for none.

    Args:
        gateway: Its settings.
        certs: The folder of ``--certs``.

    Raises:
        RefusedError: It takes none of those that are here.
    """
    asked = gateway.gateway_client_ca
    if asked is None or not gateway.encrypted:
        return None
    try:
        authorities = read_certificates(asked)
    except TlsError as failure:
        raise RefusedError(str(failure), MISUSED) from failure
    operator = None if certs is None else certs / Role.OPERATOR.value
    for folder in (operator, gateway.tls, gateway.gateway_tls):
        if folder is None:
            continue
        with suppress(TlsError):  # what is wrong with it says who needs it
            if is_from(TlsFiles(folder).current().certificate, authorities):
                return folder
    raise RefusedError(
        f"the authorities in {asked} signed no certificate that is here, so `inferloom up` could not ask its "
        "own gateway: add the authority of --certs, its ca.crt, to that file",
        MISUSED,
    )
