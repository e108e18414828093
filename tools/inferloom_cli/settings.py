"""Settings as the command line reads them: one readable line where one is wrong."""

import os
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import SettingsError

from inferloom_cli.refusal import MISUSED, RefusedError
from inferloom_mesh.net import Address, AddressField
from inferloom_mesh.settings import CONFIG_VARIABLE, ServiceSettings, given

S = TypeVar("S", bound=ServiceSettings)


class ClientSettings(ServiceSettings):
    """What the commands that ask a running mesh can be told."""

    gateway: AddressField = Address("127.0.0.1", 9000)
    """Where the gateway's gRPC façade is."""


def load(kind: type[S], **flags: object) -> S:
    """Read settings from flags, environment and file; a flag that is None was not typed.

    Raises:
        RefusedError: A value is wrong; the message names each setting at fault.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    if named is not None and not Path(named).is_file():
        raise RefusedError(f"{CONFIG_VARIABLE} names {named}, which is not a file", MISUSED)
    try:
        return kind(**given(**flags))  # type: ignore[arg-type] # checked by pydantic
    except ValidationError as wrong:
        faults = (
            f"{'.'.join(str(part) for part in fault['loc']) or 'settings'}: "
            f"{fault['msg'].removeprefix('Value error, ')}"
            for fault in wrong.errors()
        )
        raise RefusedError("; ".join(faults), MISUSED) from wrong
    except (SettingsError, TOMLDecodeError) as wrong:
        raise RefusedError(f"the settings cannot be read: {wrong}", MISUSED) from wrong
