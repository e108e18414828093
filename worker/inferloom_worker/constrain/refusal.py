"""Why a grammar was refused, in words for the caller."""

import json
import re

_KEYS = re.compile(r"Unimplemented keys: (\[.*?\])")
_FORMAT = re.compile(r"Unknown format: (\S+)")


def why_refused(param: str, error: str) -> str:
    """A sentence that names what of ``param`` the compiler, whose ``error`` is given, does not do."""
    if found := _KEYS.search(error):
        keys = ", ".join(f"'{key}'" for key in json.loads(found[1]))
        return f"{param} has {keys}, which cannot be enforced."
    if "oneOf constraints are not supported" in error:
        return f"{param} has 'oneOf' with alternatives that are not disjoint, which cannot be enforced."
    if found := _FORMAT.search(error):
        return f"{param} has the 'format' {found[1]}, which cannot be enforced."
    if "determine if regex is empty" in error:
        return (
            f"{param} has a 'pattern', or texts that are excluded, of which no grammar can tell what is left."
        )
    if "NoExtension" in error:
        return f"{param} cannot be enforced: no text conforms to it."
    if error.startswith("it takes more than"):
        return f"{param} cannot be enforced: {error}."
    return f"{param} cannot be enforced: {' '.join(error.split())}"
