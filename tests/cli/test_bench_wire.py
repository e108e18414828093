"""How `inferloom bench` reads HTTP and event streams, however the bytes are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferloom_cli.benchmark.endpoint import Endpoint
from inferloom_cli.benchmark.events import EventSplitter
from inferloom_cli.benchmark.response import ResponseParser

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\nA;name=value\r\n, you all!\r\n0\r\nTrailer: x\r\n\r\n"
)
SIZED = b"HTTP/1.1 404 Not Found\r\ncontent-length: 5\r\nconnection: close\r\n\r\nwrong"
STREAM = b': waiting\n\ndata: {"a": 1}\r\n\r\nevent: x\ndata: one\ndata:two\n\ndata: [DONE]\n\n'


def pieces_of(whole: bytes, cuts: list[int]) -> list[bytes]:
    """``whole``, cut at some places."""
    places = sorted({0, len(whole), *(cut % (len(whole) + 1) for cut in cuts)})
    return [whole[a:b] for a, b in pairwise(places)]


CUTS = st.lists(st.integers(0, 1000), max_size=12)


@given(CUTS)
def test_a_chunked_body_is_the_same_however_it_is_cut(cuts: list[int]) -> None:
    """Chunk sizes, extensions and trailers are read past, also in the middle."""
    parser = ResponseParser()
    body = b"".join(parser.feed(piece) for piece in pieces_of(CHUNKED, cuts))
    assert body == b"hello, you all!"
    assert (parser.status, parser.complete, parser.reusable) == (200, True, True)


@given(CUTS)
def test_a_body_of_stated_length_ends_by_itself(cuts: list[int]) -> None:
    """Its connection is not used again when the server says that it closes it."""
    parser = ResponseParser()
    body = b"".join(parser.feed(piece) for piece in pieces_of(SIZED, cuts))
    assert body == b"wrong"
    assert (parser.status, parser.complete, parser.reusable) == (404, True, False)


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    """The end of the connection completes it."""
    parser = ResponseParser()
    assert parser.feed(b"HTTP/1.1 200 OK\r\n\r\nsome") == b"some"
    assert not parser.complete
    parser.end()
    assert parser.complete
    assert not parser.reusable


@pytest.mark.parametrize("length", [10, 120, len(CHUNKED) - 1])
def test_a_connection_that_ends_early_is_an_error(length: int) -> None:
    """Half a head, half a chunk, and half an end."""
    parser = ResponseParser()
    parser.feed(CHUNKED[:length])
    with pytest.raises(ValueError, match="in the middle of a response"):
        parser.end()


def test_an_interim_response_is_read_past() -> None:
    """100 Continue comes before the answer."""
    parser = ResponseParser()
    body = parser.feed(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    assert (parser.status, body, parser.complete) == (200, b"ok", True)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\ntwo",
        b"HTTP/1.1 200 OK\r\n" + b"x" * 70_000,
    ],
    ids=["another protocol", "no chunk size", "more than was stated", "no end of the head"],
)
def test_what_is_not_http_is_an_error(data: bytes) -> None:
    """It is not taken for an answer."""
    with pytest.raises(ValueError, match=r"."):
        ResponseParser().feed(data)


@given(CUTS)
def test_events_are_the_same_however_the_stream_is_cut(cuts: list[int]) -> None:
    """Comments are left out, lines of one event are joined, and both line ends are understood."""
    splitter = EventSplitter()
    payloads = [payload for piece in pieces_of(STREAM, cuts) for payload in splitter.feed(piece)]
    assert payloads == [b'{"a": 1}', b"one\ntwo", b"[DONE]"]


def test_a_request_names_its_host_its_key_and_its_length() -> None:
    """What any HTTP/1.1 server needs."""
    endpoint = Endpoint.parse("http://[::1]:8000/v1/", key="secret")
    head, _, body = endpoint.request("POST", "embeddings", b"{}").partition(b"\r\n\r\n")
    first, *fields = head.split(b"\r\n")
    assert first == b"POST /v1/embeddings HTTP/1.1"
    assert {b"host: [::1]:8000", b"authorization: Bearer secret", b"content-length: 2"} <= set(fields)
    assert body == b"{}"


@pytest.mark.parametrize("url", ["ftp://host/v1", "127.0.0.1:8000", "http:///v1", ""])
def test_what_is_no_base_url_is_refused(url: str) -> None:
    """The message has the form that is wanted."""
    with pytest.raises(ValueError, match="http://host:port/v1"):
        Endpoint.parse(url)
