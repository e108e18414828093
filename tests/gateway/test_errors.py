"""Errors as OpenAI error objects, judgements of failed calls, and names of fields."""

import grpc
import orjson
import pytest
from grpc.aio import AioRpcError, Metadata

from inferloom_gateway.calls.grpc_link import judge
from inferloom_gateway.http.errors import render, response
from inferloom_gateway.http.translate import fields
from inferloom_mesh.errors import TABLE, InferloomError, Reason, invalid
from inferloom_mesh.status import to_status


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
    verdict = judge(failure(code))
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
    ],
)
def test_a_workers_own_refusals_are_judged_by_reason(reason: Reason, elsewhere: bool, blamed: bool) -> None:
    """A worker that answers is reachable; only its own faults count against it."""
    verdict = judge(failure(TABLE[reason].grpc, InferloomError(reason, "Said.")))
    assert (verdict.error.reason, verdict.elsewhere, verdict.blamed) == (reason, elsewhere, blamed)
    assert not verdict.lost


@pytest.mark.parametrize(
    ("rename", "path", "name"),
    [
        (fields.of_chat, "sampling.top_p", "top_p"),
        (fields.of_chat, "stopping.max_tokens", "max_tokens"),
        (fields.of_chat, "stopping.include_stop", "include_stop_str_in_output"),
        (fields.of_chat, "output.top_logprobs", "top_logprobs"),
        (fields.of_chat, "constraint.json_schema", "response_format"),
        (fields.of_chat, "chat", "messages"),
        (fields.of_chat, "chat.messages", "messages"),
        (fields.of_chat, "chat.messages[2].role", "messages[2].role"),
        (fields.of_chat, "chat.messages[2].parts[0].text", "messages[2].content"),
        (fields.of_chat, "chat.tools", "tools"),
        (fields.of_chat, "chat.template.variables", "chat_template_kwargs"),
        (fields.of_chat, "model", "model"),
        (fields.of_completion("prompt"), "text", "prompt"),
        (fields.of_completion("prompt"), "token_ids", "prompt"),
        (fields.of_completion("prompt"), "token_ids.ids[3]", "prompt[3]"),
        (fields.of_completion("prompt[1]"), "token_ids[3]", "prompt[1][3]"),
        (fields.of_completion("prompt"), "sampling.n", "n"),
        (fields.of_tokenize, "text", "prompt"),
        (fields.of_detokenize, "token_ids[3]", "tokens[3]"),
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
    error = fields.restate(invalid("sampling.top_p", "sampling.top_p must be above 0."), fields.of_chat)
    assert (error.param, error.message) == ("top_p", "top_p must be above 0.")
