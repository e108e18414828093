"""What people write becomes requests, events become answers, and addresses are chosen."""

import pytest

from inferloom.client import requests
from inferloom.client.answer import Answer
from inferloom.client.targets import Turn, addresses
from inferloom.v1 import inference_pb2 as pb


def test_a_chat_is_a_request_of_the_contract() -> None:
    """With each option in its place."""
    made = requests.chat(
        "m",
        [("system", "Be brief."), ("user", "Hi")],
        [pb.Tool(name="f")],
        {"temperature": 0, "max_tokens": 5, "stop": ["x"], "top_logprobs": 2, "regex": "a+", "priority": 3},
    )
    system, user = made.chat.messages
    assert (system.role, user.role, user.parts[0].text) == (pb.ROLE_SYSTEM, pb.ROLE_USER, "Hi")
    assert made.sampling == pb.SamplingOptions(temperature=0)
    assert made.stopping == pb.StoppingOptions(max_tokens=5, stop=["x"])
    assert made.output == pb.OutputOptions(logprobs=True, top_logprobs=2)
    assert (made.constraint.regex, made.priority, made.chat.tools[0].name) == ("a+", 3, "f")


def test_every_option_has_a_place() -> None:
    """The typed names are those of the contract, or made into some."""
    made = requests.completion(
        "m", [1, 2], {"json_schema": {"type": "object"}, "seed": 1, "ignore_eos": True}
    )
    assert (list(made.token_ids.ids), made.constraint.json_schema) == ([1, 2], '{"type": "object"}')
    extra = {"json_schema", "regex", "choices", "top_logprobs", "priority", "request_id"}
    fields = {*pb.SamplingOptions.DESCRIPTOR.fields_by_name, *pb.StoppingOptions.DESCRIPTOR.fields_by_name}
    assert set(requests.Options.__annotations__) <= fields | extra


def test_one_text_may_stand_without_its_list() -> None:
    """A text is a sequence of texts to Python, each with one letter."""
    made = requests.completion("m", "a", {"stop": "\n"})
    assert list(made.stopping.stop) == ["\n"]
    assert list(requests.completion("m", "a", {"choices": "yes"}).constraint.choice.texts) == ["yes"]
    assert [each.text for each in requests.embedding("m", "ab", None).inputs] == ["ab"]
    assert list(requests.ranking("m", "q", "ab").documents) == ["ab"]


def test_what_cannot_be_meant_is_refused() -> None:
    """Before anybody is called."""
    with pytest.raises(ValueError, match="exclude each other"):
        requests.completion("m", "a", {"regex": "a", "choices": ["b"]})
    with pytest.raises(ValueError, match="temprature"):
        requests.completion("m", "a", {"temprature": 1})  # type: ignore[typeddict-unknown-key] # which a type checker sees
    with pytest.raises(ValueError, match="ROLE_HUMAN"):
        requests.chat("m", [("human", "Hi")], (), {})


def test_events_become_an_answer() -> None:
    """Choices, calls and ends, however they were cut."""
    part = pb.ToolCallDelta
    answer = Answer()
    texts = [
        answer.add(event)
        for event in (
            pb.GenerateResponse(started=pb.Started(model="m")),
            pb.GenerateResponse(delta=pb.Delta(text="Par", token_ids=[1])),
            pb.GenerateResponse(delta=pb.Delta(choice=1, text="Rome")),
            pb.GenerateResponse(delta=pb.Delta(text="is", reasoning="hm", token_ids=[2])),
            pb.GenerateResponse(delta=pb.Delta(tool_calls=[part(id="c", name="f", arguments='{"a"')])),
            pb.GenerateResponse(delta=pb.Delta(tool_calls=[part(arguments=":1}"), part(index=1, name="g")])),
            pb.GenerateResponse(finished=pb.Finished(reason=pb.FINISH_REASON_TOOL_CALLS)),
            pb.GenerateResponse(completed=pb.Completed(usage=pb.Usage(completion_tokens=2))),
        )
    ]
    assert "".join(texts) == answer.text == "Paris"
    assert (answer.choices[1].text, answer.choices[0].reasoning) == ("Rome", "hm")
    assert [(call.name, call.arguments) for call in answer.calls] == [("f", '{"a":1}'), ("g", "")]
    assert (answer.choices[0].finish_reason, answer.choices[1].finish_reason) == ("tool_calls", "")
    assert answer.usage.completion_tokens == 2


@pytest.mark.parametrize("wrong", ["", "host", "host:0", ":9000", "host:x", "a:1,b"])
def test_addresses_have_a_host_and_a_port(wrong: str) -> None:
    """What has none is told at once."""
    with pytest.raises(ValueError, match="address"):
        addresses(wrong)
    assert addresses("a:1, [::1]:2") == ["a:1", "[::1]:2"]


def test_the_address_that_answered_last_is_kept() -> None:
    """Until it fails."""
    turn = Turn(["a", "b"])
    assert turn.current == turn.current == "a"
    turn.failed("a")
    assert turn.current == "b"
    turn.failed("b")
    assert turn.current == "a"


def test_two_calls_that_fail_together_pass_one_address_over() -> None:
    """Not the one behind it as well, which nobody has called."""
    turn = Turn(["a", "b", "c"])
    turn.failed("a")
    turn.failed("a")
    assert turn.current == "b"
