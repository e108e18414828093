"""How a request's headers are found."""

from starlette.datastructures import Headers

from inferloom_gateway.http.exchange import Exchange

RAW = [(b"host", b"a"), (b"x-twice", b"1"), (b"accept", b"\xe9"), (b"x-twice", b"2")]


def test_they_are_those_of_the_library() -> None:
    """By any spelling of a name: the first, all, and none."""
    exchange = Exchange("POST", "/", None, RAW)
    found, known = exchange.headers, Headers(raw=RAW)
    assert exchange.headers is found
    for name in ("host", "X-Twice", "accept", "x-none"):
        assert (name in found) == (name in known)
        assert found.get(name) == known.get(name)
        assert found.get(name, "none") == known.get(name, "none")
        assert found.getlist(name) == known.getlist(name)
    assert found.items() == known.items()
