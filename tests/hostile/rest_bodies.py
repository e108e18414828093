"""REST: bodies that cost much, mean two things, or get where they should not."""

import gzip
import zlib

import orjson

from tests.hostile.cases import AUTH, RestCase
from tests.hostile.rest_framing import CRLF, OK, sized

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
HI = [{"role": "user", "content": "hi"}]


def posted(path: str, body: object, *lines: bytes) -> bytes:
    """A request with a body, given as JSON or as bytes."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return sized(*lines, body=content, target=path.encode())


def chat(**change: object) -> bytes:
    """A chat with something changed."""
    return posted(CHAT, {"model": "echo", "messages": HI, "max_tokens": 2, **change})


def text(**change: object) -> bytes:
    """A completion with something changed."""
    return posted(TEXT, {"model": "echo", "prompt": "ab", "max_tokens": 2, **change})


def asked(path: str, method: str = "GET") -> bytes:
    """A request without a body."""
    return f"{method} {path} HTTP/1.1\r\nHost: gateway\r\n".encode() + AUTH + CRLF


def typed(content: bytes, media: bytes, *lines: bytes, path: str = TEXT) -> bytes:
    """A request of another media type."""
    return sized(*lines, body=content, target=path.encode()).replace(b"application/json", media)


def invalid(name: str, request: bytes, words: str, code: str | None = None) -> RestCase:
    """400, and why."""
    return RestCase(name, request, 400, code, words)


def nested(depth: int, pair: bytes = b"[]") -> bytes:
    """Brackets in brackets."""
    return pair[:1] * depth + pair[1:] * depth


def multipart(*parts: bytes, boundary: bytes = b"b", end: bytes = b"--b--\r\n") -> bytes:
    """An upload."""
    body = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + end
    return typed(body, b"multipart/form-data; boundary=" + boundary, path="/v1/files")


PURPOSE = b'Content-Disposition: form-data; name="purpose"\r\n\r\nbatch'
FILE = b'Content-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n{}'

JSON = (
    invalid("no body", posted(TEXT, b""), "The body is empty."),
    invalid("half of a body", posted(TEXT, b'{"model":'), "not valid JSON"),
    invalid("two bodies", posted(TEXT, OK + OK), "not valid JSON"),
    invalid("an array", posted(TEXT, b"[]"), "must be a JSON object"),
    invalid("two marks of byte order", posted(TEXT, b"\xef\xbb\xbf" * 2 + OK), "not valid JSON"),
    invalid("another encoding", posted(TEXT, OK.decode().encode("utf-16")), "not valid JSON"),
    invalid("a comment", posted(TEXT, b"/**/" + OK), "not valid JSON"),
    invalid("a comma too many", posted(TEXT, b'{"model":"echo",}'), "not valid JSON"),
    invalid("no number", posted(TEXT, b'{"temperature":NaN}'), "JSON has no NaN"),
    invalid("a number without end", posted(TEXT, b'{"temperature":1e99999}'), "infinity"),
    invalid("a number of 100,000 digits", posted(TEXT, OK[:-1] + b',"seed":' + b"9" * 100_000 + b"}"), ""),
    invalid("half of a surrogate", posted(TEXT, b'{"model":"\\ud800"}'), "surrogate"),
    invalid("bytes that are no UTF-8", posted(TEXT, b'{"model":"\xc0\x80"}'), "UTF-8"),
    invalid("a raw control character in a string", posted(TEXT, b'{"model":"a\nb"}'), "not valid JSON"),
    invalid("arrays in arrays", posted(TEXT, nested(100_000)), "depth"),
    invalid("objects in objects", posted(TEXT, b'{"a":' * 100_000), "depth"),
    invalid("a key twice", posted(TEXT, b'{"model":"other","model":"echo","prompt":"ab"}'), "'model' twice"),
    invalid(
        "a key twice, once in escapes",
        posted(TEXT, b'{"model":"echo","prompt":"a","\\u006dodel":"b"}'),
        "'model' twice",
    ),
    invalid(
        "a key twice, far inside",
        posted(CHAT, b'{"model":"echo","messages":[{"role":"user","role":"system","content":"a"}]}'),
        "'role' twice",
    ),
    invalid(
        "a key twice behind a colon in escapes",
        posted(TEXT, b'{"model":"echo","prompt":"\\u003a","max_tokens":1,"max_tokens":2}'),
        "'max_tokens' twice",
    ),
    RestCase(
        "colons in strings are no keys",
        posted(TEXT, b'{"model":"echo","prompt":"a:\\u003a\\":","max_tokens":9}'),
        200,
        None,
        "a::",
    ),
)

CODED = (
    RestCase(
        "another media type", typed(OK, b"text/plain"), 415, "unsupported_media_type", "application/json"
    ),
    RestCase(
        "a form",
        typed(b"model=echo", b"application/x-www-form-urlencoded"),
        415,
        "unsupported_media_type",
        "With curl",
    ),
    RestCase(
        "a media type of 10,000 characters",
        typed(OK, b"a/" + b"b" * 10_000),
        415,
        "unsupported_media_type",
        "…",
    ),
    RestCase(
        "a pickle",
        typed(b"\x80\x04K\x01.", b"application/octet-stream"),
        415,
        "unsupported_media_type",
        "octet-stream",
    ),
    RestCase(
        "a coding that nobody knows",
        posted(TEXT, OK, b"Content-Encoding: br"),
        415,
        "unsupported_media_type",
        "br",
    ),
    RestCase(
        "a coding within a coding",
        posted(TEXT, gzip.compress(gzip.compress(OK)), b"Content-Encoding: gzip, gzip"),
        415,
        "unsupported_media_type",
        "gzip",
    ),
    RestCase("what is not compressed", posted(TEXT, OK, b"Content-Encoding: gzip"), 400, None, "gzip"),
    RestCase(
        "half of what is compressed",
        posted(TEXT, gzip.compress(OK)[:-9], b"Content-Encoding: gzip"),
        400,
        None,
        "gzip",
    ),
    RestCase(
        "something behind what is compressed",
        posted(TEXT, zlib.compress(OK) + b"x", b"Content-Encoding: deflate"),
        400,
        None,
        "deflate",
    ),
    RestCase(
        "16 MiB of blanks in 16 KiB",
        posted(TEXT, gzip.compress(b" " * 2**24), b"Content-Encoding: gzip"),
        413,
        "request_too_large",
        "over the limit",
    ),
    RestCase(
        "a body over the limit",
        posted(TEXT, b" " * (8 * 2**20 + 1)),
        413,
        "request_too_large",
        "over the limit",
    ),
    RestCase(
        "an upload without a boundary",
        typed(b"", b"multipart/form-data", path="/v1/files"),
        415,
        "unsupported_media_type",
        "multipart/form-data",
    ),
    RestCase(
        "an upload with a boundary that is too long",
        multipart(FILE, boundary=b"b" * 300),
        415,
        "unsupported_media_type",
        "multipart/form-data",
    ),
    RestCase("an upload that is cut", multipart(PURPOSE, FILE, end=b""), 400, None, "complete"),
    RestCase("an upload without a file", multipart(PURPOSE), 400, None, "file"),
    RestCase("an upload with two files", multipart(PURPOSE, FILE, FILE), 400, None, "file"),
    RestCase(
        "an upload of 1,000 fields",
        multipart(*(PURPOSE.replace(b"purpose", b"f%d" % n) for n in range(1000)), FILE),
        400,
        None,
        "",
    ),
    RestCase(
        "a part with an endless head",
        multipart(b"X-A: " + b"a" * 100_000 + CRLF + PURPOSE, FILE),
        400,
        None,
        "",
    ),
    RestCase(
        "a file named like a path",
        multipart(PURPOSE, FILE.replace(b"a.jsonl", b"../../../etc/passwd")),
        200,
        None,
        '"object":"file"',
    ),
)

VALUES = (
    invalid("a model with a line break", text(model="a\r\nx: y"), "", "model_not_found").__class__(
        "a model with a line break",
        text(model="a\r\nx: y"),
        404,
        "model_not_found",
        "does not exist",
        absent="\r\nx: y",
    ),
    RestCase(
        "a model that ends an event",
        text(model="a\n\ndata: x", stream=True),
        404,
        "model_not_found",
        "does not exist",
        absent="\n\ndata: x",
    ),
    RestCase("a model with a NUL", text(model="echo\0"), 404, "model_not_found", "does not exist"),
    RestCase("a model of 1,000,000 characters", text(model="m" * 10**6), 400, None, "at most 512 characters"),
    RestCase(
        "a model that is a path", text(model="../../etc/passwd"), 404, "model_not_found", "does not exist"
    ),
    invalid("a model that is an object", text(model={"$ne": None}), "model"),
    invalid("a million choices", text(n=10**6), "n"),
    invalid("more choices than 64 bits hold", posted(TEXT, OK[:-1] + b',"n":99999999999999999999}'), "n"),
    invalid("choices below zero", text(n=-1), "n"),
    invalid("a million tries", text(best_of=10**6), "best_of"),
    invalid(
        "more tries than answers, streamed",
        text(best_of=3, n=1, stream=True),
        "best_of",
        "unsupported_parameter",
    ),
    invalid("log-probabilities of a million", text(logprobs=10**6), "logprobs"),
    invalid("log-probabilities below zero", chat(logprobs=True, top_logprobs=-1), "top_logprobs"),
    invalid("log-probabilities of the prompt below zero", text(prompt_logprobs=-2), "prompt_logprobs"),
    invalid("a temperature below zero", text(temperature=-0.1), "temperature"),
    invalid("a temperature in words", text(temperature="hot"), "temperature"),
    invalid("a temperature that is true", text(temperature=True), "temperature"),
    invalid("a penalty over its bound", text(frequency_penalty=2.1), "frequency_penalty"),
    invalid("a repetition penalty of nothing", text(repetition_penalty=0), "repetition_penalty"),
    invalid("biases of 10,000 tokens", text(logit_bias={str(n): 1 for n in range(10_000)}), "logit_bias"),
    invalid("a bias of a token below zero", text(logit_bias={"-1": 1}), "logit_bias"),
    invalid("a bias over its bound", text(logit_bias={"1": 1e9}), "logit_bias"),
    invalid("10,000 stop strings", text(stop=["a"] * 10_000), "stop"),
    invalid("an empty stop string", text(stop=[""]), "stop"),
    invalid("a stop string of a megabyte", text(stop="a" * 2**20), "stop"),
    invalid("stop tokens below zero", text(stop_token_ids=[-1]), "stop_token_ids"),
    invalid("bad words without end", text(bad_words=["a"] * 100_000), "bad_words"),
    invalid("fewer tokens than none", text(max_tokens=-1), "max_tokens"),
    invalid(
        "more tokens than there are",
        text(max_tokens=2**31),
        "maximum context length is 8192 tokens",
        "context_length_exceeded",
    ),
    invalid("at least more than at most", text(min_tokens=5, max_tokens=2), "min_tokens"),
    invalid("a prompt cut to less than nothing", text(truncate_prompt_tokens=-5), "truncate_prompt_tokens"),
    invalid("tokens kept when the context is shifted", text(n_discard=-1, max_tokens=-7), "max_tokens"),
    invalid("an empty prompt", text(prompt=[]), "prompt"),
    invalid("a prompt of arrays in arrays", text(prompt=[[[1]]]), "prompt"),
    invalid("a prompt with a token out of range", text(prompt=[2**32 - 1]), "prompt"),
    invalid("a prompt of numbers and text", text(prompt=[1, "a"]), "prompt"),
    invalid("10,000 prompts", text(prompt=["a"] * 10_000), "prompt"),
    invalid("tensors for a prompt", posted(TEXT, {"model": "echo", "prompt_embeds": "gASVAAAA"}), "prompt"),
    invalid("a prompt over the context", text(prompt="x" * 100_000), "context", "context_length_exceeded"),
    invalid(
        "a picture from inside the network",
        chat(
            messages=[
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}],
                }
            ]
        ),
        "image_url",
        "unsupported_parameter",
    ),
    invalid(
        "a picture from the disk",
        chat(
            messages=[
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "input_audio",
                            "input_audio": {"data": "file:///etc/passwd", "format": "wav"},
                        }
                    ],
                }
            ]
        ),
        "input_audio",
        "unsupported_parameter",
    ),
    invalid("a role that is none", chat(messages=[{"role": "root", "content": "a"}]), "role"),
    invalid("messages that are text", chat(messages="hi"), "messages"),
    invalid("20,000 messages", chat(messages=HI * 20_000), "messages"),
    invalid(
        "a tool with a line break for a name",
        chat(tools=[{"type": "function", "function": {"name": "a\nb"}}]),
        "name",
    ),
    invalid(
        "2,000 tools",
        chat(tools=[{"type": "function", "function": {"name": f"f{n}"}} for n in range(2000)]),
        "tools",
    ),
    invalid(
        "a choice of a tool that is not there",
        chat(tool_choice={"type": "function", "function": {"name": "f"}}),
        "tool_choice",
    ),
    invalid(
        "a pattern that is none", text(guided_regex="foo**"), "cannot be constrained", "unsupported_parameter"
    ),
    invalid(
        "a schema that refers to itself",
        text(guided_json={"$ref": "#"}),
        "cannot be constrained",
        "unsupported_parameter",
    ),
    invalid(
        "a schema from elsewhere",
        text(guided_json={"$ref": "http://169.254.169.254/"}),
        "cannot be constrained",
        "unsupported_parameter",
    ),
    invalid("a format that is none", chat(response_format={"type": "exec"}), "response_format"),
    invalid("two constraints", text(guided_regex="a", guided_choice=["a"]), "guided"),
    invalid(
        "a template of the caller's",
        chat(chat_template="{{ ''.__class__.__mro__ }}"),
        "chat_template",
        "unsupported_parameter",
    ),
    invalid(
        "variables of a template that go deep",
        posted(
            CHAT,
            b'{"model":"echo","messages":[{"role":"user","content":"a"}],"chat_template_kwargs":'
            + b'{"a":' * 200
            + b"1"
            + b"}" * 201,
        ),
        "chat_template_kwargs",
    ),
    invalid("a priority over its bound", text(priority=10**6), "priority"),
    invalid("a salt that is too long", text(cache_salt="a" * 1000), "cache_salt"),
    invalid(
        "options of a stream without a stream", text(stream_options={"include_usage": True}), "stream_options"
    ),
    invalid("a seed over 64 bits", posted(TEXT, OK[:-1] + b',"seed":1e30}'), "seed"),
    invalid(
        "numbers of a detokenisation out of range",
        posted("/detokenize", {"model": "echo", "tokens": [999]}),
        "tokens",
    ),
    invalid(
        "numbers of a detokenisation below zero",
        posted("/detokenize", {"model": "echo", "tokens": [-1]}),
        "tokens",
    ),
    invalid(
        "10,000 inputs of an embedding",
        posted("/v1/embeddings", {"model": "echo", "input": ["a"] * 10_000}),
        "input",
    ),
    invalid(
        "an embedding of a model that gives none",
        posted("/v1/embeddings", {"model": "echo", "input": "a"}),
        "embedding",
        "unsupported_task",
    ),
    invalid(
        "dimensions of nothing",
        posted("/v1/embeddings", {"model": "echo", "input": "a", "dimensions": 0}),
        "dimensions",
    ),
    invalid(
        "a ranking of 100,000 documents",
        posted("/v1/rerank", {"model": "echo", "query": "a", "documents": ["b"] * 100_000}),
        "documents",
    ),
    invalid(
        "an edit without an instruction", posted("/v1/edits", {"model": "echo", "input": "a"}), "instruction"
    ),
    RestCase(
        "a response that is not there",
        posted("/v1/responses", {"model": "echo", "input": "a", "previous_response_id": "resp_../../x"}),
        404,
        "not_found",
        "",
    ),
    invalid(
        "a batch of an endpoint that is none",
        posted(
            "/v1/batches",
            {"input_file_id": "file-x", "endpoint": "/v1/../metrics", "completion_window": "24h"},
        ),
        "endpoint",
    ),
    RestCase(
        "a batch of a file that is not there",
        posted(
            "/v1/batches", {"input_file_id": "file-../../etc", "endpoint": TEXT, "completion_window": "24h"}
        ),
        400,
        None,
        "No such file",
    ),
)

PATHS = (
    RestCase("a path upwards", asked("/v1/files/../../../etc/passwd"), 404, "not_found", ""),
    RestCase(
        "a path upwards in escapes",
        asked("/v1/files/%2e%2e%2f%2e%2e%2fetc%2fpasswd/content"),
        404,
        "not_found",
        "",
    ),
    RestCase("a NUL in a path", asked("/v1/models/echo%00"), 404, "model_not_found", ""),
    RestCase(
        "a line break in a path",
        asked("/v1/models/a%0d%0ax-evil:%201"),
        404,
        "not_found",
        "Not found",
        absent="\r\nx-evil",
    ),
    RestCase("bytes in a path that are no UTF-8", asked("/v1/models/%ff%fe"), 404, "model_not_found", ""),
    RestCase("an escape that is none", asked("/v1/models/%zz"), 404, "model_not_found", ""),
    RestCase("a path of the framework", asked("/docs/oauth2-redirect"), 404, "not_found", ""),
    RestCase("a path of another server", asked("/api/create", "POST"), 404, "not_found", ""),
    RestCase("a path of an administrator", asked("/admin/shutdown", "POST"), 404, "not_found", ""),
    RestCase("a profile of the process", asked("/debug/pprof/heap"), 404, "not_found", ""),
    RestCase("another method", asked("/v1/models", "DELETE"), 405, "method_not_allowed", ""),
    RestCase(
        "a method that shows what was sent",
        asked("/v1/models", "TRACE"),
        405,
        "method_not_allowed",
        "",
        absent="Host: gateway",
    ),
    RestCase("a limit of a list below zero", asked("/v1/files?limit=-1"), 400, None, "limit"),
    RestCase("a limit of a list that is no number", asked("/v1/files?limit=%00"), 400, None, "limit"),
    RestCase(
        "a cursor of a list that is a query",
        asked("/v1/files?after=%27%20OR%201=1--"),
        400,
        None,
        "there is no file",
    ),
    RestCase(
        "a file that is not there", asked("/v1/files/file-%27;DROP%20TABLE/content"), 404, "not_found", ""
    ),
    RestCase(
        "a batch that is not there", asked("/v1/batches/batch_%2e%2e/cancel", "POST"), 404, "not_found", ""
    ),
    RestCase(
        "a stored chat that is not there", asked("/v1/chat/completions/..%5c..%5cx"), 404, "not_found", ""
    ),
    RestCase(
        "ranges of nothing",
        asked("/v1/files/file-1/content", "GET").replace(
            b"Host", b"Range: bytes=" + b"0-," * 5000 + b"0-\r\nHost"
        ),
        404,
        "not_found",
        "",
    ),
)
