"""Checks of single fields. ``param`` is the field's path in the request, such as ``sampling.top_p``."""

import uuid
from collections.abc import Sequence

from inferloom_mesh.errors import InferloomError, invalid
from inferloom_mesh.request_id import is_request_id


def between(param: str, value: float, least: float, most: float) -> None:
    """Refuse a number outside ``least`` to ``most``; NaN and infinities are outside of everything."""
    if not least <= value <= most:
        raise invalid(param, f"{param} must be between {least:g} and {most:g}, not {value:g}.")


def at_most(param: str, items: int, most: int) -> None:
    """Refuse more than ``most`` items."""
    if items > most:
        raise invalid(param, f"{param} can have at most {most} entries, not {items}.")


def token_ids(param: str, ids: Sequence[int], vocab_size: int) -> list[int]:
    """The ids as a list; refuse an empty one, and ids outside the vocabulary."""
    if not ids:
        raise invalid(param, f"{param} must hold at least one token.")
    if max(ids) >= vocab_size:
        index = next(i for i, token in enumerate(ids) if token >= vocab_size)
        raise outside(f"{param}[{index}]", ids[index], vocab_size)
    return list(ids)


def outside(param: str, token: int, vocab_size: int) -> InferloomError:
    """The error for a token id that the model does not have."""
    return invalid(param, f"{param} names token {token}; the model has tokens 0 to {vocab_size - 1}.")


def request_id(given: str) -> str:
    """The request's name, made where none was given."""
    if not given:
        return f"req-{uuid.uuid4().hex}"
    if not is_request_id(given):
        raise invalid("request_id", "request_id must be 1 to 128 visible ASCII characters.")
    return given
