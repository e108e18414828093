"""How far a generation has come, and what another worker is told of it."""

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls.generation_progress import GenerationProgress
from inferloom_gateway.calls.tokens import Tokens
from inferloom_mesh.errors import InferloomError, Reason, invalid

HEARTBEAT = pb.GenerateResponse(heartbeat=pb.Heartbeat())
COMPLETED = pb.GenerateResponse(completed=pb.Completed())


def started() -> pb.GenerateResponse:
    """The first event of a worker that was asked for the prompt's tokens."""
    sampling = pb.SamplingOptions(temperature=0.5, top_k=3)
    return pb.GenerateResponse(started=pb.Started(seed=7, sampling=sampling, prompt_token_ids=[5, 6]))


def delta(choice: int = 0, ids: tuple[int, ...] = (), text: str = "") -> pb.GenerateResponse:
    """More of a choice."""
    return pb.GenerateResponse(delta=pb.Delta(choice=choice, token_ids=ids, text=text))


def finished(choice: int) -> pb.GenerateResponse:
    """The end of a choice."""
    return pb.GenerateResponse(finished=pb.Finished(choice=choice, reason=pb.FINISH_REASON_LENGTH))


def prompt(index: int, *ids: int) -> pb.GenerateResponse:
    """A part of the prompt."""
    logprobs = [pb.TokenLogprob(token_id=token) for token in ids]
    return pb.GenerateResponse(prompt=pb.Prompt(token_index=index, token_ids=ids, logprobs=logprobs))


def rest(progress: GenerationProgress, *, resumes: bool = True) -> pb.GenerateRequest:
    """What another worker is asked for."""
    asked = progress.rest(resumes=resumes)
    assert asked is not None
    return asked


def test_what_was_committed_is_told() -> None:
    """The seed, what tokens are drawn with, the prompt, and of each choice its tokens and its end."""
    request = pb.GenerateRequest(model="m", text="a", sampling=pb.SamplingOptions(n=3, top_k=3))
    progress = GenerationProgress(request)
    assert progress.rest() is request
    first = progress.take(started())
    assert first is not None
    assert list(first.started.prompt_token_ids) == []
    progress.take(delta(0, (1, 2)))
    progress.take(HEARTBEAT)
    assert progress.tokens(Tokens(1, 0, [3], "c")) is not None
    progress.tokens(Tokens(0, 2, [4], "d"))
    progress.take(finished(1))

    assert rest(progress).resume == pb.Resume(
        prompt_token_ids=[5, 6],
        choices=[
            pb.ResumedChoice(choice=0, token_ids=[1, 2, 4]),
            pb.ResumedChoice(choice=1, token_ids=[3], finished=finished(1).finished),
        ],
    )
    assert rest(progress).sampling == pb.SamplingOptions(n=3, top_k=3, temperature=0.5, seed=7)
    assert (progress.place, request.HasField("resume"), request.sampling.HasField("seed")) == (
        4,
        False,
        False,
    )
    progress.take(COMPLETED)
    assert (progress.rest(), progress.completed) == (None, True)


def test_a_worker_is_told_that_another_had_begun() -> None:
    """Also where it had come to no token, and its prompt is the input itself."""
    progress = GenerationProgress(pb.GenerateRequest(token_ids=pb.TokenIds(ids=[5])))
    assert not rest(progress).HasField("resume")
    progress.take(pb.GenerateResponse(started=pb.Started(seed=7)))
    asked = rest(progress)
    assert asked.HasField("resume")
    assert asked.resume == pb.Resume()


def test_what_a_caller_brought_along_counts() -> None:
    """A request that goes on already goes on from there."""
    resume = pb.Resume(choices=[pb.ResumedChoice(token_ids=[1])], prompt_token_ids=[9])
    progress = GenerationProgress(pb.GenerateRequest(resume=resume))
    progress.take(pb.GenerateResponse(started=pb.Started()))
    progress.take(delta(0, (2,)))
    again = rest(progress).resume
    assert (list(again.choices[0].token_ids), list(again.prompt_token_ids)) == ([1, 2], [9])


def test_nothing_is_shown_twice() -> None:
    """Started, parts of the prompt, its text, ends, and what an end makes final."""
    request = pb.GenerateRequest(output=pb.OutputOptions(echo=True), sampling=pb.SamplingOptions(n=2))
    progress = GenerationProgress(request)
    shown = [progress.take(started()), progress.take(prompt(0, 1, 2)), progress.take(prompt(2, 3))]
    shown += [progress.take(delta(0, text="abc"))]
    assert None not in shown
    assert list(rest(progress).resume.choices) == []

    assert [progress.take(started()), progress.take(prompt(0, 1))] == [None, None]
    part = progress.take(prompt(1, 2, 3, 4))
    assert part == prompt(3, 4)
    assert progress.take(delta(0, text="abc")) is None
    assert progress.take(delta(1, text="abc")) is not None
    assert progress.take(delta(0, (1,), "x")) is not None
    assert progress.take(delta(0, text="held back")) is not None
    rest(progress)
    assert progress.tokens(Tokens(0, 1, [], "held back")) is None
    assert progress.take(finished(0)) is not None
    assert progress.take(finished(0)) is None


def test_without_workers_that_resume_only_what_nobody_saw_begins_anew() -> None:
    """With its seed; and a caller who wants the whole sees that it begins."""
    shown, whole = (
        GenerationProgress(pb.GenerateRequest()),
        GenerationProgress(pb.GenerateRequest(), whole=True),
    )
    for progress in (shown, whole):
        progress.take(started())
        assert not rest(progress, resumes=False).HasField("resume")
        assert progress.take(started()) is None
        progress.take(delta(0, (1,)))
    assert shown.rest(resumes=False) is None
    assert rest(whole, resumes=False).sampling.seed == 7
    assert whole.place is None
    assert whole.take(started()) is not None


@pytest.mark.parametrize("error", [invalid("resume", "No."), InferloomError(Reason.NO_WORKER, "None.")])
def test_what_another_worker_minds_is_not_the_callers_fault(error: InferloomError) -> None:
    """Once he has seen something, his worker was lost."""
    progress = GenerationProgress(pb.GenerateRequest())
    progress.take(started())
    assert progress.restated(error) is error
    progress.take(delta(0, (1,)))
    assert progress.restated(error).reason is Reason.WORKER_LOST
    late = InferloomError(Reason.TIMEOUT, "Late.")
    assert progress.restated(late) is late


def test_what_belongs_to_a_token_is_told_once() -> None:
    """Deltas without tokens come again where their token had not come, as many of them; behind the token
    others may come."""
    progress = GenerationProgress(pb.GenerateRequest())
    progress.take(started())
    for event in (delta(ids=(1,), text="a"), delta(text="b"), delta(text="c")):
        assert progress.take(event) is not None
    again = rest(progress).resume
    assert list(again.choices[0].token_ids) == [1]

    assert [progress.take(delta(text=text)) for text in "bc"] == [None, None]
    assert progress.take(delta(text="d")) is not None
    assert progress.take(delta(ids=(2,), text="e")) is not None
    assert progress.take(delta(text="f")) is not None
    rest(progress)
    rest(progress)
    assert progress.tokens(Tokens(0, 2, [], "f")) is None
    assert progress.tokens(Tokens(0, 2, [], "g")) is not None


def test_a_token_takes_what_was_to_come_again_with_it() -> None:
    """Another worker may tell it otherwise; nothing after it is taken for what was said before."""
    progress = GenerationProgress(pb.GenerateRequest())
    progress.take(started())
    progress.take(delta(ids=(1,)))
    progress.take(delta(text="b"))
    rest(progress)
    progress.take(delta(ids=(2,), text="b"))
    assert progress.take(delta(text="c")) is not None


def test_a_prompt_that_is_not_repeated_is_not_waited_for() -> None:
    """Where another choice has tokens, the prompt's text does not come again before this one's."""
    request = pb.GenerateRequest(output=pb.OutputOptions(echo=True), sampling=pb.SamplingOptions(n=2))
    progress = GenerationProgress(request)
    progress.take(started())
    for event in (delta(0, text="abc"), delta(1, text="abc"), delta(0, (1,), "x")):
        progress.take(event)
    assert not progress.told_as_text
    rest(progress)
    assert progress.take(delta(1, text="held back")) is not None
    assert progress.told_as_text
