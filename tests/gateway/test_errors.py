"""Errors as OpenAI error objects, judgements of failed calls, and names of fields."""

import grpc
import orjson
import pytest
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2
from grpc.aio import AioRpcError, Metadata
from pydantic import ValidationError

from inferloom_gateway.calls.attempt import NOT_LET_IN_S
from inferloom_gateway.calls.judging import judge
from inferloom_gateway.http.errors import from_validation, render, response
from inferloom_gateway.http.schema.completions import CompletionRequest
from inferloom_gateway.http.translate import fields
from inferloom_mesh.errors import TABLE, InferloomError, Reason, invalid, shown
from inferloom_mesh.named_fields import named
from inferloom_mesh.quotations import shortened
from inferloom_mesh.status import read_failure, read_status, to_status
from inferloom_mesh.suggestion import model_not_found
from tests.patience import Moment


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_renders_with_its_row(reason: Reason) -> None:
    """Status, type and code are those of the table, whatever the reason."""
    answer = response(InferloomError(reason, "Said.", param="p"))
    row = TABLE[reason]
    assert answer.status_code == row.http
    assert orjson.loads(answer.body) == {
        "error": {"message": "Said.", "type": row.type, "param": "p", "code": row.code}
    }


@pytest.mark.parametrize(("after", "header"), [(None, None), (0.0, "1"), (0.2, "1"), (2.01, "3")])
def test_retry_after_is_in_whole_seconds(after: float | None, header: str | None) -> None:
    """A delay is rounded up, and never zero."""
    answer = response(InferloomError(Reason.SERVER_OVERLOADED, "Full.", retry_after=after))
    assert answer.headers.get("retry-after") == header


def test_what_a_program_is_not_to_ask_again_says_so() -> None:
    """What others fail with may pass, and a limit with a time does; OpenAI's SDKs ask again by the status."""
    told = {
        reason: response(InferloomError(reason, "Said.", retry_after=1.0)).headers.get("x-should-retry")
        for reason in Reason
    }
    never = (Reason.REQUEST_BARRED, Reason.UNIMPLEMENTED)
    assert {reason: word for reason, word in told.items() if word} == dict.fromkeys(never, "false")
    for after, word in ((None, "false"), (1.0, None)):
        for reason in (Reason.RATE_LIMIT_EXCEEDED, Reason.TOKEN_LIMIT_EXCEEDED):
            headers = response(InferloomError(reason, "Said.", retry_after=after)).headers
            assert headers.get("x-should-retry") == word


def test_a_missing_param_is_null() -> None:
    """An error about no field says so."""
    assert orjson.loads(render(InferloomError(Reason.TIMEOUT, "Late.")))["error"]["param"] is None


def failure(code: grpc.StatusCode, error: InferloomError | None = None) -> AioRpcError:
    """A failed call: with our details, or bare."""
    if error is None:
        return AioRpcError(code, Metadata(), Metadata(), "10.0.0.1:7100 refused")
    status = to_status(error)
    return AioRpcError(code, Metadata(), Metadata(*status.trailing_metadata), error.message)


@pytest.mark.parametrize(
    ("code", "reason", "elsewhere", "lost", "blamed"),
    [
        (grpc.StatusCode.UNAVAILABLE, Reason.WORKER_LOST, True, True, True),
        (grpc.StatusCode.CANCELLED, Reason.WORKER_LOST, True, True, True),
        (grpc.StatusCode.INTERNAL, Reason.WORKER_LOST, True, False, True),
        (grpc.StatusCode.UNKNOWN, Reason.WORKER_LOST, True, False, True),
        (grpc.StatusCode.DEADLINE_EXCEEDED, Reason.TIMEOUT, False, False, True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.REQUEST_TOO_LARGE, False, False, False),
    ],
)
def test_the_transports_failures_are_judged_by_code(
    code: grpc.StatusCode, reason: Reason, elsewhere: bool, lost: bool, blamed: bool
) -> None:
    """A broken call may go elsewhere and counts against the worker; its message shows no address."""
    verdict = judge(read_failure(failure(code)))
    assert (verdict.error.reason, verdict.elsewhere, verdict.lost, verdict.blamed) == (
        reason,
        elsewhere,
        lost,
        blamed,
    )
    assert "10.0.0.1" not in verdict.error.message


@pytest.mark.parametrize(
    ("reason", "elsewhere", "blamed"),
    [
        (Reason.SERVER_OVERLOADED, True, False),
        (Reason.NO_WORKER, True, False),
        (Reason.MODEL_NOT_FOUND, True, False),
        (Reason.INVALID_ARGUMENT, False, False),
        (Reason.RATE_LIMIT_EXCEEDED, False, False),
        (Reason.SERVER_ERROR, False, True),
        (Reason.WORKER_LOST, True, False),
    ],
)
def test_a_workers_own_refusals_are_judged_by_reason(reason: Reason, elsewhere: bool, blamed: bool) -> None:
    """A worker that answers is reachable; only its own faults count against it."""
    verdict = judge(read_failure(failure(TABLE[reason].grpc, InferloomError(reason, "Said."))))
    assert (verdict.error.reason, verdict.elsewhere, verdict.blamed) == (reason, elsewhere, blamed)
    assert not verdict.lost


def test_a_worker_that_says_that_it_is_lost_is_left_alone() -> None:
    """As one that says 'not now', by others; the request that was there may have done it, and does not come
    back."""
    error = InferloomError(Reason.WORKER_LOST, "The model failed.", retry_after=2.0)
    verdict = judge(read_failure(failure(TABLE[Reason.WORKER_LOST].grpc, error)))
    assert (verdict.not_now_s, verdict.again_s, verdict.suspect) == (2.0, 0.0, True)


@pytest.mark.parametrize("reason", [Reason.NOT_A_PEER, Reason.PERMISSION_DENIED, None])
def test_a_worker_that_does_not_want_this_gateway_is_no_matter_of_the_callers(reason: Reason | None) -> None:
    """He goes elsewhere, and is never told that his own key is not good."""
    code = grpc.StatusCode.UNAUTHENTICATED if reason is None else TABLE[reason].grpc
    verdict = judge(read_failure(failure(code, None if reason is None else InferloomError(reason, "No."))))
    assert (verdict.error.reason, verdict.elsewhere, verdict.blamed) == (Reason.NO_WORKER, True, False)
    assert (verdict.lost, verdict.suspect, verdict.free) == (False, False, True)
    assert verdict.not_now_s == NOT_LET_IN_S


@pytest.mark.parametrize(
    ("rename", "path", "name"),
    [
        (fields.of("chat"), "sampling.top_p", "top_p"),
        (fields.of("chat"), "stopping.max_tokens", "max_completion_tokens"),
        (fields.of_completion("prompt"), "stopping.max_tokens", "max_tokens"),
        (fields.of_completion("prompt"), "output.top_logprobs", "logprobs"),
        (fields.of("chat"), "sampling.logit_bias[7]", "logit_bias[7]"),
        (fields.of("chat"), "stopping.include_stop", "include_stop_str_in_output"),
        (fields.of("chat"), "output.top_logprobs", "top_logprobs"),
        (fields.of("chat"), "constraint", "response_format"),
        (fields.of("chat"), "constraint.json_schema", "response_format.json_schema"),
        (fields.of("chat"), "chat", "messages"),
        (fields.of("chat"), "chat.messages", "messages"),
        (fields.of("chat"), "chat.messages[2].role", "messages[2].role"),
        (fields.of("chat"), "chat.messages[2].parts[0].text", "messages[2].content"),
        (fields.of("chat"), "chat.messages[2].parts[1]", "messages[2].content"),
        (fields.of("chat"), "chat.messages[2].parts[1].tool_result", "messages[2].tool_call_id"),
        (fields.of("chat"), "chat.messages[2].parts[1].tool_call.id", "messages[2].tool_calls[1].id"),
        (fields.of("chat"), "chat.tools", "tools"),
        (fields.of("chat"), "input", "messages"),
        (fields.of("tokenize"), "input", "prompt"),
        (fields.of("chat"), "chat.template.variables", "chat_template_kwargs"),
        (fields.of("chat"), "model", "model"),
        (fields.of_completion("prompt"), "text", "prompt"),
        (fields.of_completion("prompt"), "token_ids", "prompt"),
        (fields.of_completion("prompt"), "token_ids.ids[3]", "prompt[3]"),
        (fields.of_completion("prompt[1]"), "token_ids[3]", "prompt[1][3]"),
        (fields.of_completion("prompt"), "sampling.n", "n"),
        (fields.of("tokenize"), "text", "prompt"),
        (fields.of("detokenize"), "token_ids[3]", "tokens[3]"),
        (fields.of_embedding(4), "inputs", "input"),
        (fields.of_embedding(4), "inputs[3].text", "input[7]"),
        (fields.of_embedding(4), "dimensions", "dimensions"),
    ],
)
def test_fields_have_rest_names(rename: object, path: str, name: str) -> None:
    """A field path of the contract becomes the name that a REST caller sent."""
    assert rename(path) == name  # type: ignore[operator] # parametrised with functions


def test_messages_are_restated_too() -> None:
    """The message of an error names the field like its param does."""
    error = fields.restate(invalid("sampling.top_p", "sampling.top_p must be above 0."), fields.of("chat"))
    assert (error.param, error.message) == ("top_p", "top_p must be above 0.")


@pytest.mark.parametrize(
    ("rename", "param", "said", "restated"),
    [
        (
            fields.of_completion("prompt"),
            "text",
            f"The model's context length is 8 tokens, and {named('text')} of the text has 9.",
            "The model's context length is 8 tokens, and prompt of the text has 9.",
        ),
        (
            fields.of("chat"),
            "output.top_logprobs",
            f"output.top_logprobs needs {named('output.logprobs')}, and not output.logprobs.",
            "top_logprobs needs logprobs, and not output.logprobs.",
        ),
        (fields.of("chat"), "sampling.n", "sampling.note: sampling.n", "sampling.note: sampling.n"),
        (fields.of("chat"), "sampling.n", "sampling.n: 'sampling.top_p'", "n: 'sampling.top_p'"),
    ],
)
@pytest.mark.parametrize("way", ["here", "call"])
def test_a_message_is_restated_where_it_names_fields(
    way: str, rename: fields.Rename, param: str, said: str, restated: str
) -> None:
    """And nowhere else, whether the error was raised here or came with a call."""
    error = invalid(param, said)
    if way == "call":
        error = read_failure(failure(grpc.StatusCode.INVALID_ARGUMENT, error)).error
    assert fields.restate(error, rename).message == restated
    assert "\ufdd0" not in error.message


@pytest.mark.parametrize(
    ("endpoint", "model"),
    [("chat", "model.gguf"), ("chat", "chat.small"), ("completions", "text.large"), ("embeddings", "inputs")],
)
def test_a_callers_words_are_his_own(endpoint: str, model: str) -> None:
    """Whatever they look like, an error repeats them."""
    for error in (
        model_not_found(model, []),
        InferloomError(Reason.UNSUPPORTED_TASK, f"'{model}'?", param="model"),
    ):
        assert f"'{model}'" in fields.restate(error, fields.of(endpoint)).message


def test_an_error_is_restated_again_and_again() -> None:
    """For the whole of an embedding, and for REST; a field that becomes longer shifts those behind it."""
    error = invalid("inputs[1].text", f"inputs[1].text is longer than {named('inputs[0].text')}.")
    shifted = error.restated(lambda path: path.replace("[", "[10"))
    assert shifted.message == "inputs[101].text is longer than inputs[100].text."
    assert fields.restate(shifted, fields.of_embedding(2)).message == "input[103] is longer than input[102]."


@pytest.mark.parametrize("places", ["0-5,99-100", "3-1", "5-9,0-4", "x", "-", "0-1," * 1000, "99999999-1"])
def test_places_that_a_message_does_not_have_are_passed_over(places: str) -> None:
    """They come from another process."""
    info = error_details_pb2.ErrorInfo(
        reason="INVALID_ARGUMENT", domain="inferloom", metadata={"fields": places}
    )
    detail = Any()
    detail.Pack(info)
    error = read_status(grpc.StatusCode.INVALID_ARGUMENT, "model is wrong.", [detail]).error
    assert error.message == "model is wrong."
    assert all(begin < end <= len(error.message) for begin, end in error.places)


@pytest.mark.parametrize("body", [{"guided_json": 5}, {"structured_outputs": {"json": [1]}}])
def test_a_field_of_two_types_is_named_by_its_own_name(body: dict[str, object]) -> None:
    """And not by one of the types."""
    with pytest.raises(ValidationError) as caught:
        CompletionRequest.model_validate({"model": "m", **body})
    error = from_validation(caught.value)
    assert error.param in ("guided_json", "structured_outputs.json")
    assert error.message == f"Invalid '{error.param}': must be an object or a string."


def test_a_missing_model_is_told_where_all_are_listed() -> None:
    """In REST's words; the gRPC door has a method for it."""
    error = fields.restate(model_not_found("chatt", ["chat", "other"]), fields.of("chat"))
    assert error.message == (
        "The model 'chatt' does not exist. Did you mean 'chat'? GET /v1/models lists all."
    )


def test_a_missing_model_keeps_what_its_error_carries() -> None:
    """The fields that it names are renamed again, and who may ask again is told when."""
    said = f"The model 'm' does not exist, nor {named('inputs[0].text')}."
    error = InferloomError(Reason.MODEL_NOT_FOUND, said, param="model", retry_after=3.0)
    restated = fields.restate(error, fields.of_embedding(2))
    assert restated.retry_after == 3.0
    assert [restated.message[slice(*place)] for place in restated.places] == ["input[2]"]


@pytest.mark.parametrize("text", [" 'a", ' "b', "', '", " 'a' or ", "(' \"", "' "])
def test_no_text_makes_an_error_costly(text: str) -> None:
    """Whatever quotes a caller's 100 kB are made of: an error is made on the event loop."""
    text *= 100_000 // len(text)
    began = Moment.now()
    error = InferloomError(Reason.MODEL_NOT_FOUND, f"There is no model '{text}'.", param=text)
    short = shortened(text, 100, shown)
    assert Moment.now() - began < 2
    assert len(error.message.encode()) <= 600
    assert len(short) <= len(text)


def test_of_long_quotations_the_beginning_is_told() -> None:
    """Of each, whatever quotes it has itself."""
    said = "Neither '{}' nor \"{}\" (or '{}') is one."
    error = InferloomError(Reason.NOT_FOUND, said.format("a" * 101, "it's " * 30, "b" * 500))
    assert error.message == said.format("a" * 99 + "…", ("it's " * 30)[:99] + "…", "b" * 99 + "…")
