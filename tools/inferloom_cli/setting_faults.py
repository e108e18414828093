"""What is wrong with a setting, in words that name where it was set. Pure."""

import os
from collections.abc import Mapping

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from inferloom_mesh.settings import settings_file

_FLAGS = {
    "registry_listen": "--listen",
    "worker_listen": "--listen",
    "worker_link_port": "--link-port",
    "gateway_listen": "--listen",
    "gateway_grpc_listen": "--grpc-listen",
    "gateway_processes": "--processes",
    "worker_id": "--id",
    "models": "--model",
    "adapters": "--adapter",
    "aliases": "--alias",
}
"""Flags that are not called like their settings."""

_WORDS = {
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "path_type": "must be a path",
    "tuple_type": "must be a list",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "must match {pattern}",
}
"""What a value must be, by pydantic's name for the fault."""


def sentences(wrong: ValidationError, flags: Mapping[str, object]) -> str:
    """All faults, the first of each setting; ``flags`` holds what was given beside environment and file."""
    by_setting: dict[str, list[ErrorDetails]] = {}
    for fault in wrong.errors():
        by_setting.setdefault(str(fault["loc"][0]) if fault["loc"] else "", []).append(fault)
    return "; ".join(_sentence(name, faults, flags) for name, faults in by_setting.items())


def _sentence(name: str, faults: list[ErrorDetails], flags: Mapping[str, object]) -> str:
    fault = faults[0]
    if fault["type"] in ("value_error", "assertion_error"):
        said = fault["msg"].partition(", ")[2]  # after "Value error"
        return f"{_source(name, flags)}: {said}" if name else said
    # A setting of several kinds, such as a word or a number, has a fault for each.
    expected = " or ".join(
        dict.fromkeys(_WORDS.get(f["type"], f["msg"]).format(**f.get("ctx", {})) for f in faults)
    ).replace(" or must be ", " or ")
    return f"{_source(name, flags)} {expected}, not {str(fault['input'])[:200]!r}"


def _source(setting: str, flags: Mapping[str, object]) -> str:
    """The flag, the variable, or the file and its key."""
    name = setting.lower().removeprefix("inferloom_")
    variable = f"INFERLOOM_{name.upper()}"
    if setting.startswith("FASTCHAT_"):
        return setting
    if flags.get(name) is not None and str(flags[name]) != os.environ.get(variable):
        return _FLAGS.get(name, "--" + name.replace("_", "-"))
    return variable if variable in os.environ else f"{settings_file()}: {name}"
