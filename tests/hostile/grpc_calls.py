"""gRPC at the gateway's own port: messages, metadata and methods."""

from google.protobuf.struct_pb2 import Struct, Value

from inferloom.v1 import inference_pb2 as pb
from tests.hostile.cases import RpcCase, field
from tests.hostile.messages import INF, NAN, chat, said, sampling, stopping, text

GENERATE, EMBED, RERANK = "InferenceService/Generate", "InferenceService/Embed", "InferenceService/Rerank"
TOKENIZE, DETOKENIZE = "InferenceService/Tokenize", "InferenceService/Detokenize"
INVALID = ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
UNSUPPORTED = ("INVALID_ARGUMENT", "UNSUPPORTED_PARAMETER")
LONG = ("INVALID_ARGUMENT", "CONTEXT_LENGTH_EXCEEDED")
NO_MODEL = ("NOT_FOUND", "MODEL_NOT_FOUND")
NO_MESSAGE = "not a valid message"
CONTINUE = "InferenceService/ContinueGenerate"
NO_STREAM = ("NOT_FOUND", "NOT_FOUND")

ECHO = field(1, b"echo")


def wrong(
    name: str, request: object, words: str, kind: tuple[str, str] = INVALID, method: str = GENERATE
) -> RpcCase:
    """What is refused in our words."""
    return RpcCase(name, method, request, *kind, words)


def raw(name: str, data: bytes, method: str = GENERATE) -> RpcCase:
    """Bytes that are no message."""
    return wrong(name, data, NO_MESSAGE, method=method)


def deep(depth: int) -> Struct:
    """A structure in structures."""
    inner = Value(number_value=1)
    for _ in range(depth):
        outer = Struct()
        outer.fields["a"].CopyFrom(inner)
        inner = Value(struct_value=outer)
    return inner.struct_value


def named(name: str) -> Struct:
    """A structure with a value of this name."""
    made = Struct()
    made.fields[name].CopyFrom(Value(string_value="x"))
    return made


def resumed(*choices: pb.ResumedChoice) -> pb.GenerateRequest:
    """A completion of which these choices are said to have been made."""
    return text(resume=pb.Resume(choices=choices))


def tool(**fields: object) -> pb.Tool:
    """A tool."""
    return pb.Tool(**{"name": "f", **fields})  # type: ignore[arg-type] # of many types


WIRE = (
    raw("no message at all", b"\xff\xff\xff"),
    raw("a tag without a value", b"\x0a"),
    raw("a length beyond the end", b"\x0a\xff\x01ab"),
    raw("a number without end", b"\x50" + b"\xff" * 11),
    raw("a group that nobody ends", b"\x0b" + ECHO),
    raw("the end of no group", b"\x0c"),
    raw("a field of number nought", b"\x02\x01a"),
    raw("a kind of field that is none", b"\x0f"),
    raw("text that is no UTF-8", field(1, b"\xc0\x80")),
    raw("half of a surrogate in UTF-8", ECHO + field(4, b"\xed\xa0\x80")),
    raw("groups in groups", b"\x0b" * 200 + b"\x0c" * 200),
    raw(
        "messages in messages in messages",
        ECHO + b"".join([field(3, b"")] * 3) + field(5, b"\x0a\xff\xff\xff\xff\x0f"),
    ),
    raw("a wrong kind of a known field", b"\x09" + b"a" * 7),
    wrong("an empty message", b"", "model"),
    wrong(
        "the same field ten thousand times",
        ECHO * 10_000 + field(4, b"ab") + field(7, b"\x08\x02"),
        "ab",
        ("OK", ""),
    ),
    wrong(
        "a megabyte that nobody knows",
        ECHO + field(4, b"ab") + field(7, b"\x08\x02") + field(1000, b"x" * 2**20),
        "ab",
        ("OK", ""),
    ),
    wrong("two inputs, of which the last holds", ECHO + field(4, b"ab") + field(5, b""), "token_ids"),
    RpcCase(
        "a message over the limit", GENERATE, b"x" * (17 * 2**20), "RESOURCE_EXHAUSTED", "", "larger than max"
    ),
    RpcCase(
        "17 MiB in a few kilobytes",
        GENERATE,
        b"\0" * (17 * 2**20),
        "RESOURCE_EXHAUSTED",
        "",
        "",
        compressed=True,
    ),
    RpcCase("no request where there is one", TOKENIZE, (), "DEADLINE_EXCEEDED", timeout=0.5),
)

METHODS = (
    RpcCase("a method that is not there", "InferenceService/Exec", b"", "UNIMPLEMENTED", "", "not found"),
    RpcCase("a service that is not there", "/evil.v1.Shell/Run", b"", "UNIMPLEMENTED", "", "not found"),
    RpcCase(
        "a path upwards",
        "/inferloom.v1.InferenceService/../WorkerService/Drain",
        b"",
        "UNIMPLEMENTED",
        "",
        "not found",
    ),
    RpcCase(
        "a worker's control at the gateway", "WorkerService/Drain", b"", "UNIMPLEMENTED", "", "not found"
    ),
    RpcCase(
        "a worker's models at the gateway", "WorkerService/LoadModel", b"", "UNIMPLEMENTED", "", "not found"
    ),
    RpcCase(
        "a registration at the gateway", "RegistryService/Register", b"", "UNIMPLEMENTED", "", "not found"
    ),
    RpcCase(
        "the list of workers at the gateway",
        "RegistryService/ListWorkers",
        b"",
        "UNIMPLEMENTED",
        "",
        "not found",
    ),
    RpcCase("a link at the gateway", "LinkService/Attach", b"", "UNIMPLEMENTED", "", "not found"),
    RpcCase(
        "the health of what is not there", "/grpc.health.v1.Health/Check", field(1, b"evil"), "NOT_FOUND"
    ),
    RpcCase(
        "a tenant from outside",
        GENERATE,
        text(),
        "OK",
        "",
        "ab",
        (("inferloom-context-bin", b"\n\x01r\x1a\x04root"),),
    ),
    RpcCase(
        "a context that is none", GENERATE, text(), "OK", "", "ab", (("inferloom-context-bin", b"\xff\xff"),)
    ),
    RpcCase("a trace that is none", GENERATE, text(), "OK", "", "ab", (("traceparent", "00-zz"),)),
    RpcCase(
        "a thousand keys of metadata",
        GENERATE,
        text(),
        "RESOURCE_EXHAUSTED",
        "",
        "",
        tuple((f"x-{n}", "a" * 40) for n in range(1000)),
    ),
    RpcCase("a key of 100 KB", GENERATE, text(), "RESOURCE_EXHAUSTED", "", "", (("x-a", "a" * 100_000),)),
    RpcCase("no time at all", GENERATE, text(), "DEADLINE_EXCEEDED", "", "", timeout=0.0),
    RpcCase("time below zero", GENERATE, text(), "DEADLINE_EXCEEDED", "", "", timeout=-5.0),
    RpcCase("time for longer than anything lasts", GENERATE, text(), "OK", "", "ab", timeout=10.0**9),
)

FIELDS = (
    wrong("no model", text(model=""), "model"),
    wrong("a model that is not there", text(model="no"), "does not exist", NO_MODEL),
    wrong("a model with a line break", text(model="a\r\nb"), "does not exist", NO_MODEL),
    wrong("a model of a megabyte", text(model="m" * 2**20), "", NO_MODEL),
    wrong("no input", pb.GenerateRequest(model="echo"), "input"),
    wrong("an empty text", text(""), "text"),
    wrong("a text over the context", text("x" * 10**6), "context", LONG),
    wrong("no tokens", pb.GenerateRequest(model="echo", token_ids=pb.TokenIds()), "token_ids"),
    wrong(
        "a token out of range",
        pb.GenerateRequest(model="echo", token_ids=pb.TokenIds(ids=[2**32 - 1])),
        "token_ids.ids[0]",
    ),
    wrong(
        "a million tokens", pb.GenerateRequest(model="echo", token_ids=pb.TokenIds(ids=[1] * 10**6)), "", LONG
    ),
    wrong("a temperature that is no number", sampling(temperature=NAN), "sampling.temperature"),
    wrong("a temperature without end", sampling(temperature=INF), "sampling.temperature"),
    wrong("a mass below zero", sampling(top_p=-1), "sampling.top_p"),
    wrong("a least chance over one", sampling(min_p=1.5), "sampling.min_p"),
    wrong(
        "a presence penalty that is no number", sampling(presence_penalty=NAN), "sampling.presence_penalty"
    ),
    wrong(
        "a frequency penalty over its bound", sampling(frequency_penalty=2.5), "sampling.frequency_penalty"
    ),
    wrong(
        "a repetition penalty without end", sampling(repetition_penalty=INF), "sampling.repetition_penalty"
    ),
    wrong("a bias that is no number", sampling(logit_bias={1: NAN}), "sampling.logit_bias[1]"),
    wrong("a bias of a token that is not there", sampling(logit_bias={2**32 - 1: 1}), "sampling.logit_bias"),
    wrong("biases without end", sampling(logit_bias=dict.fromkeys(range(2000), 1)), "sampling.logit_bias"),
    wrong("four billion choices", sampling(n=2**32 - 1), "sampling.n"),
    wrong("no choice", sampling(n=0), "sampling.n"),
    wrong("a million allowed tokens", sampling(allowed_token_ids=[1] * 10**6), "sampling.allowed_token_ids"),
    wrong("an empty bad word", sampling(bad_words=[""]), "sampling.bad_words"),
    wrong("four billion tokens", stopping(max_tokens=2**32 - 1), "stopping.max_tokens", LONG),
    wrong("at least more than at most", stopping(min_tokens=3), "stopping.min_tokens"),
    wrong("an empty stop string", stopping(stop=[""]), "stopping.stop[0]"),
    wrong("a stop string of 10,000 characters", stopping(stop=["x" * 10_000]), "stopping.stop[0]"),
    wrong("a thousand stop strings", stopping(stop=["x"] * 1000), "stopping.stop"),
    wrong("a thousand stop tokens", stopping(stop_token_ids=[1] * 1000), "stopping.stop_token_ids"),
    wrong("a constraint on a model without", text(constraint=pb.Constraint(regex="(a+)+$")), "", UNSUPPORTED),
    wrong("a priority over its bound", text(priority=10**6), "priority"),
    wrong("a salt that is too long", text(cache_salt="x" * 1000), "cache_salt"),
    wrong("a key of the cache that is too long", text(prompt_cache_key="x" * 1000), "prompt_cache_key"),
    wrong("a name of a request with a line break", text(request_id="a\r\nb"), "request_id"),
    wrong("a prediction of two megabytes", text(prediction="x" * 2**21), "prediction"),
    wrong("no messages", pb.GenerateRequest(model="echo", chat=pb.ChatInput()), "chat.messages"),
    wrong("a message without a role", chat(said(role=pb.ROLE_UNSPECIFIED)), "role"),
    wrong("a role that nobody knows", chat(said(role=99)), "role"),
    wrong("a message without a part", chat(pb.ChatMessage(role=pb.ROLE_USER)), "parts"),
    wrong("20,000 messages", chat(*[said("a")] * 20_000), "messages"),
    wrong("a tool without a name", chat(tools=[tool(name="")]), "tools[0].name"),
    wrong("a tool with a name of markup", chat(tools=[tool(name="</tool_call>")]), "tools[0].name"),
    wrong(
        "a tool whose schema goes deep",
        chat(tools=[tool(parameters_json_schema="[" * 100_000)]),
        "parameters_json_schema",
    ),
    wrong(
        "a choice of a tool that is not there",
        chat(tool_choice=pb.ToolChoice(function_name="g")),
        "tool_choice",
    ),
    wrong("variables that go deep", chat(template=pb.TemplateOptions(variables=deep(25))), "", ("OK", "")),
    wrong(
        "variables that take the place of messages",
        chat(template=pb.TemplateOptions(variables=named("messages"))),
        "variables",
    ),
    wrong(
        "an embedding of a model that gives none",
        pb.EmbedRequest(model="echo", inputs=[pb.EmbedInput(text="a")]),
        "",
        ("INVALID_ARGUMENT", "UNSUPPORTED_TASK"),
        EMBED,
    ),
    wrong(
        "a ranking by a model that ranks nothing",
        pb.RerankRequest(model="echo", query="a", documents=["b"]),
        "reranking",
        ("INVALID_ARGUMENT", "UNSUPPORTED_TASK"),
        RERANK,
    ),
    wrong("nothing to tokenise", pb.TokenizeRequest(model="echo"), "input", method=TOKENIZE),
    wrong(
        "a number that stands for no token",
        pb.DetokenizeRequest(model="echo", token_ids=[10**6]),
        "token_ids[0]",
        method=DETOKENIZE,
    ),
    wrong(
        "numbers without end",
        pb.DetokenizeRequest(model="echo", token_ids=[1] * 300_000),
        "token_ids",
        method=DETOKENIZE,
    ),
    wrong(
        "the tokenizer of a model that is not there",
        pb.GetTokenizerRequest(model="../x"),
        "does not exist",
        NO_MODEL,
        "InferenceService/GetTokenizer",
    ),
    wrong(
        "a continuation of a choice that is not there",
        resumed(pb.ResumedChoice(choice=9)),
        "choices[0].choice",
    ),
    wrong(
        "a continuation of a choice twice",
        resumed(pb.ResumedChoice(token_ids=[97]), pb.ResumedChoice(token_ids=[97])),
        "there already",
    ),
    wrong(
        "a continuation with a token out of range",
        resumed(pb.ResumedChoice(token_ids=[10**9])),
        "token_ids[0]",
    ),
    wrong(
        "a continuation over its own end", resumed(pb.ResumedChoice(token_ids=[97] * 1000)), "max_tokens is 2"
    ),
    wrong(
        "a continuation of an end that nobody knows",
        resumed(pb.ResumedChoice(token_ids=[97], finished=pb.Finished(reason=pb.FINISH_REASON_UNSPECIFIED))),
        "no reason",
    ),
    wrong(
        "a stream whose name would end a line of metadata",
        pb.ContinueGenerateRequest(stream="a\r\nx-evil: 1"),
        "no resumable stream",
        NO_STREAM,
        CONTINUE,
    ),
    wrong(
        "a stream's name of 100,000 characters",
        pb.ContinueGenerateRequest(stream="x" * 100_000),
        "no resumable stream",
        NO_STREAM,
        CONTINUE,
    ),
    wrong(
        "a stream of somebody's, behind the last event that there can be",
        pb.ContinueGenerateRequest(stream="mine", after=2**32 - 1),
        "no resumable stream",
        NO_STREAM,
        CONTINUE,
    ),
)
