"""REST: heads and bodies that two servers could read differently, and heads that are no heads."""

from tests.hostile.cases import AUTH, RestCase

OK = b'{"model":"echo","prompt":"ab","max_tokens":2}'
BAD = "not a valid HTTP/1.1 request"
CRLF = b"\r\n"


def head(*lines: bytes, target: bytes = b"/v1/completions", method: bytes = b"POST") -> bytes:
    """A head with the lines of an ordinary one, and these."""
    first = method + b" " + target + b" HTTP/1.1"
    return CRLF.join([first, b"Host: gateway", AUTH + b"Content-Type: application/json", *lines, b"", b""])


def sized(*lines: bytes, body: bytes = OK, target: bytes = b"/v1/completions") -> bytes:
    """A request whose length is told."""
    return head(*lines, b"Content-Length: %d" % len(body), target=target) + body


def chunked(raw: bytes, *lines: bytes) -> bytes:
    """A request whose body is these bytes of chunks."""
    return head(b"Transfer-Encoding: chunked", *lines) + raw


def chunk(body: bytes = OK) -> bytes:
    """One chunk."""
    return b"%x\r\n%s\r\n" % (len(body), body)


def got(*lines: bytes) -> bytes:
    """A GET whose head is these lines."""
    return CRLF.join([*lines, AUTH, b""]) if len(lines) > 1 else CRLF.join([*lines, b"", b""])


def bad(name: str, request: bytes) -> RestCase:
    """What is no HTTP: 400, and the connection ends, so that nothing after it is read."""
    return RestCase(name, request, 400, None, BAD, closes=True)


SMUGGLED = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n" + AUTH + b"\r\n"
MODELS = b"GET /v1/models HTTP/1.1"

FRAMING = (
    bad(
        "length and chunks",
        head(b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"0\r\n\r\n" + SMUGGLED,
    ),
    bad(
        "chunks and length",
        head(b"Transfer-Encoding: chunked", b"Content-Length: 5") + b"0\r\n\r\n" + SMUGGLED,
    ),
    bad("two lengths that differ", head(b"Content-Length: 45", b"Content-Length: 0") + OK),
    bad("two lengths that agree", head(b"Content-Length: 45", b"Content-Length: 45") + OK),
    bad("a list of lengths", head(b"Content-Length: 45, 45") + OK),
    bad("a length below zero", head(b"Content-Length: -1") + OK),
    bad("a length with a sign", head(b"Content-Length: +45") + OK),
    bad("a length in hexadecimal", head(b"Content-Length: 0x2d") + OK),
    bad("a length over 64 bits", head(b"Content-Length: 18446744073709551661") + OK),
    bad("a length in two words", head(b"Content-Length: 4 5") + OK),
    bad("an empty length", head(b"Content-Length:") + OK),
    bad("a coding that is not chunked", head(b"Transfer-Encoding: xchunked") + chunk() + b"0\r\n\r\n"),
    bad(
        "chunked is not the last coding",
        head(b"Transfer-Encoding: chunked, identity") + chunk() + b"0\r\n\r\n",
    ),
    bad("chunked behind another coding", head(b"Transfer-Encoding: gzip, chunked") + chunk() + b"0\r\n\r\n"),
    bad(
        "two lines of codings",
        head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity") + chunk() + b"0\r\n\r\n",
    ),
    bad("chunked twice", head(b"Transfer-Encoding: chunked, chunked") + chunk() + b"0\r\n\r\n"),
    bad("a coding behind a vertical tab", head(b"Transfer-Encoding: \x0bchunked") + chunk() + b"0\r\n\r\n"),
    bad("a space before the colon", head(b"Transfer-Encoding : chunked") + chunk() + b"0\r\n\r\n"),
    bad("a folded coding", head(b"Transfer-Encoding:", b" chunked") + chunk() + b"0\r\n\r\n"),
    bad("a folded header", got(MODELS, b"Host: gateway", b"X-A: a", b" b")),
    bad(
        "a coding in HTTP/1.0",
        head(b"Transfer-Encoding: chunked").replace(b"1.1", b"1.0") + chunk() + b"0\r\n\r\n",
    ),
    bad("lines that end in LF", head(b"Content-Length: 45").replace(b"\r\n", b"\n") + OK),
    bad("one line that ends in LF", got(MODELS, b"Host: gateway\nX-A: b")),
    bad("CR in a value", got(MODELS, b"Host: gateway", b"X-A: a\rX-B: b")),
    bad("NUL in a value", got(MODELS, b"Host: gateway", b"X-A: a\0b")),
    bad("NUL in a name", got(MODELS, b"Host: gateway", b"X\0A: b")),
    bad("a control character in a value", got(MODELS, b"Host: gateway", b"X-A: a\x01b")),
    bad("a space in a name", got(MODELS, b"Host: gateway", b"X A: b")),
    bad("a line without a colon", got(MODELS, b"Host: gateway", b"X-A")),
    bad("a line without a name", got(MODELS, b"Host: gateway", b": b")),
    bad("a name of another alphabet", got(MODELS, b"Host: gateway", "Ä: b".encode())),
    bad("a space before the first header", got(MODELS, b" Host: gateway")),
    bad("a chunk size over 64 bits", chunked(b"fffffffffffffffff\r\n")),
    bad("a chunk size with 0x", chunked(b"0x2d\r\n" + OK + b"\r\n0\r\n\r\n")),
    bad("a chunk size below zero", chunked(b"-1\r\n\r\n")),
    bad("a chunk without a size", chunked(b"\r\n" + OK + b"\r\n0\r\n\r\n")),
    bad("a space before a chunk size", chunked(b" 2d\r\n" + OK + b"\r\n0\r\n\r\n")),
    bad("a chunk that is longer than it says", chunked(b"5\r\n" + OK + b"\r\n0\r\n\r\n")),
    bad("a chunk size that ends in LF", chunked(b"2d\n" + OK + b"\r\n0\r\n\r\n")),
    bad("a chunk that ends in LF", chunked(b"2d\r\n" + OK + b"\n0\r\n\r\n")),
    bad("LF in a chunk's extension", chunked(b"2d;a\nb\r\n" + OK + b"\r\n0\r\n\r\n")),
    bad("CR in a chunk's extension", chunked(b"2d;a\rb\r\n" + OK + b"\r\n0\r\n\r\n")),
    bad("a last chunk that ends in LF", chunked(chunk() + b"0\n\n")),
    RestCase(
        "a chunk's extension is nothing", chunked(b'2d;a="b"\r\n' + OK + b"\r\n0\r\n\r\n"), 200, None, "ab"
    ),
    RestCase(
        "an endless extension of a chunk",
        chunked(b"2d;" + b"a" * 70_000 + CRLF + OK + b"\r\n0\r\n\r\n"),
        431,
        "request_head_too_large",
        "limit",
        closes=True,
    ),
    RestCase(
        "many small extensions of chunks",
        chunked(b"".join(b"1;aaaaaaaaaaaaaaa\r\n \r\n" for _ in range(5000)) + chunk() + b"0\r\n\r\n"),
        431,
        "request_head_too_large",
        "limit",
        closes=True,
    ),
    RestCase(
        "a trailer is no header",
        chunked(chunk() + b"0\r\nx-request-id: trailer\r\nauthorization: Bearer x\r\n\r\n"),
        200,
        None,
        "ab",
        absent="trailer",
    ),
    bad("a length in a trailer", chunked(chunk() + b"0\r\nContent-Length: 7\r\n\r\n")),
    RestCase(
        "an endless trailer",
        chunked(chunk() + b"0\r\n" + b"a: b\r\n" * 20_000 + CRLF),
        431,
        "request_head_too_large",
        "limit",
        closes=True,
    ),
    RestCase("a request behind a body", sized() + SMUGGLED, 200, None, '"data"', answers=2),
    RestCase(
        "a body where there is none",
        head(b"Content-Length: 45", method=b"GET", target=b"/v1/models") + OK,
        200,
        None,
        "echo",
    ),
)

HEADS = (
    bad("a method that nobody knows", got(b"BREW /v1/models HTTP/1.1", b"Host: gateway")),
    bad("a method in small letters", got(b"get /v1/models HTTP/1.1", b"Host: gateway")),
    bad("a tunnel", got(b"CONNECT gateway:443 HTTP/1.1", b"Host: gateway:443")),
    bad("HTTP/2 known beforehand", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    bad("HTTP/1.2", got(b"GET /v1/models HTTP/1.2", b"Host: gateway")),
    bad("HTTP/9.9", got(b"GET /v1/models HTTP/9.9", b"Host: gateway")),
    bad("HTTP/0.9", b"GET /v1/models\r\n\r\n"),
    bad("another protocol", got(b"GET /v1/models ICE/1.0", b"Host: gateway")),
    bad("TLS to a port without it", bytes.fromhex("16030100c8010000c40303") + b"\0" * 64),
    bad("an SSH client", b"SSH-2.0-OpenSSH_9.6\r\n"),
    bad("a Redis client", b"*1\r\n$4\r\nINFO\r\n"),
    RestCase(
        "a second space in the first line",
        got(b"GET  /v1/models HTTP/1.1", b"Host: gateway"),
        200,
        None,
        "echo",
    ),
    bad("words behind the version", got(b"GET /v1/models HTTP/1.1 x", b"Host: gateway")),
    bad("a target that is none", got(b"GET v1/models HTTP/1.1", b"Host: gateway")),
    bad("an authority for a target", got(b"GET gateway:80 HTTP/1.1", b"Host: gateway")),
    bad("raw bytes in a target", got(b"GET /v1/\xff\xfe HTTP/1.1", b"Host: gateway")),
    bad("a tab in a target", got(b"GET /v1/\tmodels HTTP/1.1", b"Host: gateway")),
    bad("no host", got(b"GET /v1/models HTTP/1.1", b"X-A: b")),
    bad("two hosts", got(MODELS, b"Host: gateway", b"Host: other")),
    bad("a host with a path", got(MODELS, b"Host: gateway/admin")),
    bad("a host with a user", got(MODELS, b"Host: user@gateway")),
    bad("a host with a space", got(MODELS, b"Host: gate way")),
    RestCase("no host in HTTP/1.0", got(b"GET /health/live HTTP/1.0"), 200, None, "live", closes=True),
    RestCase(
        "a whole URL as target",
        b"GET http://elsewhere.example/v1/models?x=1 HTTP/1.1\r\nHost: gateway\r\n" + AUTH + CRLF,
        200,
        None,
        '"data"',
        absent="elsewhere",
    ),
    RestCase(
        "a star as target",
        b"OPTIONS * HTTP/1.1\r\nHost: gateway\r\n" + AUTH + CRLF,
        400,
        None,
        BAD,
        closes=True,
    ),
    RestCase(
        "an endless header",
        got(MODELS, b"Host: gateway", b"X-A: " + b"a" * 70_000),
        431,
        "request_head_too_large",
        "65536 bytes",
        closes=True,
    ),
    RestCase(
        "an endless target",
        got(b"GET /" + b"a" * 70_000 + b" HTTP/1.1", b"Host: gateway"),
        431,
        "request_head_too_large",
        "65536 bytes",
        closes=True,
    ),
    RestCase(
        "a thousand headers",
        got(MODELS, b"Host: gateway", *(b"x%d: y" % n for n in range(1000))),
        431,
        "request_head_too_large",
        "headers",
        closes=True,
    ),
    RestCase(
        "an expectation that nobody meets",
        sized(b"Expect: 200-ok"),
        200,
        None,
        "ab",
    ),
    RestCase(
        "a body that is announced too large",
        head(b"Expect: 100-continue", b"Content-Length: 999999999"),
        413,
        "request_too_large",
        "over the limit",
        closes=True,
    ),
    RestCase(
        "a head that is not complete",
        b"GET /v1/models HTTP/1.1\r\nHost: g",
        408,
        "request_timeout",
        "did not arrive",
        closes=True,
    ),
    RestCase(
        "a body that is not complete",
        head(b"Content-Length: 45") + OK[:20],
        408,
        "request_timeout",
        "did not arrive",
        closes=True,
    ),
    RestCase(
        "a chunk that is not complete",
        chunked(b"2d\r\n" + OK[:20]),
        408,
        "request_timeout",
        "did not arrive",
        closes=True,
    ),
    RestCase(
        "a name with a line break for a request",
        sized(b"X-Request-Id: a%0d%0ax-evil: 1"),
        200,
        None,
        "ab",
        absent="\r\nx-evil",
    ),
    RestCase(
        "a name of a request that is too long",
        sized(b"X-Request-Id: " + b"a" * 4000),
        200,
        None,
        "ab",
        absent="aaaaaaaa",
    ),
    RestCase(
        "a name of a request in another alphabet",
        sized("X-Request-Id: é\u2028".encode()),
        200,
        None,
        "ab",
        absent="\u2028",
    ),
    RestCase("a trace that is none", sized(b"traceparent: 00-" + b"0" * 32 + b"-zz-01"), 200, None, "ab"),
    RestCase("a context from outside", sized(b"inferloom-context-bin: CgFyEgIIAQ=="), 200, None, "ab"),
    RestCase(
        "an origin that is not known",
        sized(b"Origin: https://evil.example"),
        200,
        None,
        "ab",
        absent="evil.example",
    ),
    RestCase(
        "an upgrade to nothing",
        sized(b"Connection: upgrade", b"Upgrade: h2c/\x7f".replace(b"\x7f", b"x")),
        200,
        None,
        "ab",
    ),
    RestCase(
        "a connection option that names a header",
        sized(b"Connection: close, content-type"),
        200,
        None,
        "ab",
        closes=True,
    ),
    RestCase(
        "a forwarded address",
        sized(b"X-Forwarded-For: 127.0.0.1, ::1", b"Forwarded: for=_hidden"),
        200,
        None,
        "ab",
    ),
    RestCase(
        "a method override",
        sized(b"X-HTTP-Method-Override: DELETE", b"X-Original-URL: /metrics"),
        200,
        None,
        "ab",
    ),
)
