"""However a generation's events are cut, its response is the same, and the typed events add up to it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.responses.seal import Seal, new_secret
from inferloom_gateway.http.schema.responses import ResponseRequest
from inferloom_gateway.http.translate.responses.assembly import Assembly
from inferloom_gateway.http.translate.responses.document import begun
from inferloom_gateway.http.translate.responses.replay import replayed
from inferloom_mesh.errors import InferloomError, Reason

BODY = ResponseRequest.model_validate({"model": "m", "input": "Hi"})
NAME = "resp_" + "a" * 30

WORDS = st.text(min_size=1, max_size=6)
CALLS = st.lists(st.tuples(WORDS, st.text(max_size=8)), max_size=3)


def events(
    reasoning: str, text: str, calls: list[tuple[str, str]], cuts: list[int]
) -> list[pb.GenerateResponse]:
    """A generation that reasons, speaks and calls, its pieces cut at some lengths."""
    made = [pb.GenerateResponse(started=pb.Started(model="m", sampling=pb.SamplingOptions(temperature=0.7)))]

    def pieces(whole: str) -> list[str]:
        found, rest = [], whole
        for cut in cuts:
            found.append(rest[:cut])
            rest = rest[cut:]
        return [piece for piece in (*found, rest) if piece]

    def add(**more: Any) -> None:
        made.append(pb.GenerateResponse(delta=pb.Delta(**more)))

    for piece in pieces(reasoning):
        add(reasoning=piece)
    for piece in pieces(text):
        add(text=piece)
    for index, (name, arguments) in enumerate(calls):
        add(tool_calls=[pb.ToolCallDelta(index=index, id=f"c{index}", name=name)])
        for piece in pieces(arguments):
            add(tool_calls=[pb.ToolCallDelta(index=index, arguments=piece)])
    made.append(pb.GenerateResponse(finished=pb.Finished(reason=pb.FINISH_REASON_STOP)))
    usage = pb.Usage(prompt_tokens=3, completion_tokens=4, reasoning_tokens=1)
    made.append(pb.GenerateResponse(completed=pb.Completed(usage=usage)))
    return made


def assembled(generation: list[pb.GenerateResponse]) -> tuple[Assembly, list[dict[str, Any]]]:
    """The response, and all typed events."""
    assembly = Assembly(begun(BODY, NAME, 1, store=True), clock=lambda: 2.0)
    told = list(assembly.begin())
    for event in generation:
        told += assembly.add(event)
    return assembly, told


def text_of(item: dict[str, Any]) -> str:
    """What an item says."""
    found: str = item["arguments"] if item["type"] == "function_call" else item["content"][0]["text"]
    return found


@given(st.text(max_size=8), st.text(max_size=12), CALLS, st.lists(st.integers(0, 4), max_size=4))
def test_the_response_does_not_depend_on_the_cuts(
    reasoning: str, text: str, calls: list[tuple[str, str]], cuts: list[int]
) -> None:
    """The pieces of each item add up to what the item says when it is done, and to the response's output."""
    once, _ = assembled(events(reasoning, text, calls, []))
    many, told = assembled(events(reasoning, text, calls, cuts))
    assert many.document == once.document
    output = once.document["output"]
    kinds = (
        ["reasoning"] * bool(reasoning)
        + ["message"] * bool(text or not calls)
        + ["function_call"] * len(calls)
    )
    assert [item["type"] for item in output] == kinds
    done = [event["item"] for event in told if event["type"] == "response.output_item.done"]
    assert done == output
    for index, item in enumerate(output):
        deltas = [event["delta"] for event in told if event.get("output_index") == index and "delta" in event]
        assert "".join(deltas) == text_of(item)
    assert told[-1]["response"]["output"] == output
    assert once.document["temperature"] == 0.7


@given(st.text(max_size=8), st.text(max_size=12), CALLS)
def test_a_replay_tells_the_same(reasoning: str, text: str, calls: list[tuple[str, str]]) -> None:
    """What is told of a kept response later is what was told of it at once, if that came in whole pieces."""
    assembly, told = assembled(events(reasoning, text, calls, []))

    def without_empty(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [event for event in found if event.get("delta") != ""]

    def shape(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {key: value for key, value in event.items() if key != "response"}
            for event in without_empty(found)
        ]

    again = list(replayed(assembly.document))
    assert shape(again) == shape(told)
    assert again[-1] == told[-1]


def test_a_failure_closes_what_was_open() -> None:
    """The item under way is incomplete, and the error is in the response; the caller's own are told apart."""
    for reason, code in ((Reason.WORKER_LOST, "server_error"), (Reason.INVALID_ARGUMENT, "invalid_prompt")):
        assembly = Assembly(begun(BODY, NAME, 1, store=True))
        list(assembly.add(events("", "Once", [], [])[0]))
        list(assembly.add(events("", "Once", [], [])[1]))
        told = list(assembly.fail(InferloomError(reason, "Gone.")))
        assert told[-1]["type"] == "response.failed"
        final = told[-1]["response"]
        assert final["error"] == {"code": code, "message": "Gone."}
        assert final["output"][0]["status"] == "incomplete"


@given(st.text(max_size=40), st.text(max_size=8), st.integers(0, 200))
def test_sealed_reasoning_opens_for_its_tenant_only(text: str, tenant: str, place: int) -> None:
    """With the same secret, for the same tenant, unchanged."""
    seal = Seal(new_secret())
    sealed = seal.seal(text, tenant)
    assert seal.unseal(sealed, tenant) == text
    assert seal.unseal(sealed, tenant + "x") is None
    assert Seal(new_secret()).unseal(sealed, tenant) is None
    at = place % len(sealed)
    changed = sealed[:at] + ("A" if sealed[at] != "A" else "B") + sealed[at + 1 :]
    assert seal.unseal(changed, tenant) in (None, text)
    for nonsense in ("", "x", "AQ==", "ü", sealed[:-4]):
        assert seal.unseal(nonsense, tenant) is None


def test_a_deadline_is_no_length() -> None:
    """What was cut says why, to its caller and to who reads it later."""
    details = {}
    for reason in (pb.FINISH_REASON_LENGTH, pb.FINISH_REASON_DEADLINE, pb.FINISH_REASON_STOP):
        *first, _, last = events("", "Once", [], [])
        end = pb.GenerateResponse(finished=pb.Finished(reason=reason))
        assembly, told = assembled([*first, end, last])
        details[reason] = assembly.document["incomplete_details"]
        assert told[-1]["response"]["incomplete_details"] == details[reason]
        assert list(replayed(assembly.document))[-1] == told[-1]
    assert details == {
        pb.FINISH_REASON_LENGTH: {"reason": "max_output_tokens"},
        pb.FINISH_REASON_DEADLINE: {"reason": "max_output_tokens", "stop_reason": "deadline"},
        pb.FINISH_REASON_STOP: None,
    }
