"""Names of calls."""

from hashlib import blake2b


def call_id(seed: int, choice: int, index: int) -> str:
    """The id of a choice's call: the same whenever the same tokens are drawn, and read again."""
    made = blake2b(f"{seed}/{choice}/{index}".encode(), digest_size=12, person=b"inferloom call").hexdigest()
    return f"call_{made}"


def short_id(given: str) -> str:
    """An id for templates that take nine letters and digits and nothing else: its own, or made of it."""
    if len(given) == _SHORT and given.isascii() and given.isalnum():
        return given
    return blake2b(given.encode(errors="surrogatepass"), digest_size=8).hexdigest()[:_SHORT]


_SHORT = 9
