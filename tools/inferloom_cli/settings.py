"""Settings as the command line reads them: one readable line where one is wrong."""

import os
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import SettingsError

from inferloom_cli.known_settings import strangers
from inferloom_cli.refusal import MISUSED, RefusedError
from inferloom_cli.setting_faults import sentences
from inferloom_mesh.settings import CONFIG_VARIABLE, ServiceSettings, given, settings_file

S = TypeVar("S", bound=ServiceSettings)


def load(kind: type[S], **flags: object) -> S:
    """Read settings from flags, environment and file; a flag that is None was not typed.

    Raises:
        RefusedError: A name or a value is wrong; the message names each setting at fault, and its source.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    if named is not None and not Path(named).is_file():
        raise RefusedError(f"{CONFIG_VARIABLE} names {named}, which is not a file", MISUSED)
    try:
        if unknown := "; ".join(strangers()):
            raise RefusedError(unknown, MISUSED)
        return kind(**given(**flags))  # type: ignore[arg-type] # checked by pydantic
    except ValidationError as wrong:
        raise RefusedError(sentences(wrong, flags), MISUSED) from wrong
    except (TOMLDecodeError, UnicodeDecodeError, OSError) as wrong:
        raise RefusedError(f"{settings_file()} cannot be read: {wrong}", MISUSED) from wrong
    except SettingsError as wrong:
        raise RefusedError(f"the settings cannot be read: {wrong}", MISUSED) from wrong
