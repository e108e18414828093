"""What to type where a library is missing that one of the distribution's extras brings."""


def advice(library: str, extra: str) -> str:
    """A sentence about a library that could not be imported, and the extra that brings it."""
    return f"{library} is not installed: pip install '.[{extra}]' in Inferloom's folder installs it"
