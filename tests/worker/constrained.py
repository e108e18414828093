"""Asking a model for constrained answers, in tests."""

from dataclasses import dataclass, field
from typing import Any

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.hosting.answer import Terms
from inferloom_worker.hosting.served import ServedModel
from inferloom_worker.text.pool import TextPool
from inferloom_worker.validate.generate import read_generate


@dataclass
class Said:
    """What one choice came to."""

    text: str = ""
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    reason: int = 0
    matched: str | None = None


@dataclass
class Answered:
    """What a request came to."""

    choices: dict[int, Said]
    started: pb.Started
    usage: pb.Usage

    @property
    def texts(self) -> list[str]:
        """What each choice says."""
        return [self.choices[index].text for index in sorted(self.choices)]


async def ask(
    model: ServedModel,
    constraint: pb.Constraint | None,
    *,
    text: str = "A person, as JSON:",
    max_tokens: int = 60,
    texts: TextPool | None = None,
    logprobs: bool = False,
    stopping: dict[str, Any] | None = None,
    **sampling: Any,
) -> Answered:
    """Run a request to its end, with threads of its own unless there are some. Raises InferloomError where it
    is refused or fails."""
    request = pb.GenerateRequest(
        model="m",
        text=text,
        sampling=pb.SamplingOptions(**{"temperature": 0, **sampling}),
        stopping=pb.StoppingOptions(max_tokens=max_tokens, **(stopping or {})),
        output=pb.OutputOptions(logprobs=logprobs),
        constraint=constraint,
    )
    threads = TextPool() if texts is None else texts
    try:
        asked = read_generate(request, model.card.vocabulary_size, model.card.sampling_defaults)
        answer = await model.answer(asked, Terms(), threads)
        result = Answered({}, pb.Started(), pb.Usage())
        async for batch in answer.events():
            for event in batch:
                _add(result, event)
        return result
    finally:
        if texts is None:
            threads.close()


def _add(result: Answered, event: pb.GenerateResponse) -> None:
    match event.WhichOneof("event"):
        case "started":
            result.started = event.started
        case "delta":
            said = result.choices.setdefault(event.delta.choice, Said())
            said.text += event.delta.text
            said.tokens += event.delta.token_ids
            said.logprobs += [entry.logprob for entry in event.delta.logprobs]
        case "finished":
            said = result.choices.setdefault(event.finished.choice, Said())
            said.reason = event.finished.reason
            said.matched = event.finished.stop_string or None
        case "completed":
            result.usage = event.completed.usage
