"""What a request says will come is bounded, and read once for all of its choices."""

from typing import Any

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.engine.prediction import NOTHING, Prediction
from inferloom_worker.hosting.answer import Terms
from inferloom_worker.hosting.engine_request import engine_request
from inferloom_worker.hosting.prompts import Prompts
from inferloom_worker.stepping.sequence import SequenceState
from inferloom_worker.text.bytes_tokenizer import bytes_tokenizer
from inferloom_worker.validate.generate import CompletionRequest, read_generate


def asked(prediction: str, max_tokens: int | None = None, **fields: Any) -> CompletionRequest:
    """A request with a prompt of four tokens, checked."""
    stopping = pb.StoppingOptions(max_tokens=max_tokens)
    request = pb.GenerateRequest(model="m", text="text", prediction=prediction, stopping=stopping, **fields)
    return read_generate(request, 259)


def prompts(context: int, *, drafts: bool) -> Prompts:
    """Those of a model that reads ``context`` tokens, one a byte."""
    return Prompts(pb.Model(id="m", context_length=context), bytes_tokenizer(), None, None, drafts=drafts)


@pytest.mark.parametrize(("max_tokens", "kept"), [(None, 16), (5, 5), (0, 0)])
def test_no_more_is_read_than_can_come(max_tokens: int | None, kept: int) -> None:
    """No more than max_tokens, or than there is room for in the context."""
    found = prompts(20, drafts=True).read(asked("ab" * 5000, max_tokens))
    assert found.prediction.tokens == tuple(b"ab" * 8)[:kept]


def test_nothing_is_read_where_nothing_is_drafted() -> None:
    """With speculation switched off."""
    assert prompts(20, drafts=False).read(asked("ab" * 5000)).prediction is NOTHING


def test_choices_share_what_is_looked_up() -> None:
    """Made with the request, before the engine has it."""
    wanted = asked("some text", sampling=pb.SamplingOptions(n=3))
    request = engine_request(
        wanted,
        prompts(100, drafts=True).read(wanted),
        Terms(),
        tokenizer=bytes_tokenizer(),
        context_length=100,
        adapter=None,
    )
    choices = [
        SequenceState(request, mailbox=None, choice=i, arrival=i, submitted_at=0.0)  # type: ignore[arg-type]
        for i in range(3)
    ]
    assert isinstance(request.prediction, Prediction)
    assert request.prediction.places
    assert all(each.drafter._expected_places is request.prediction.places for each in choices)


def test_one_without_end_is_refused() -> None:
    """Before it is tokenised."""
    with pytest.raises(InferloomError) as caught:
        asked("a" * (2**20 + 1))
    assert (caught.value.reason, caught.value.param) == (Reason.INVALID_ARGUMENT, "prediction")
