"""Tokens that another worker committed, taken through a choice's pipeline without being said again."""

from collections.abc import Sequence
from dataclasses import dataclass

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import invalid
from inferloom_worker.engine.events import EndReason
from inferloom_worker.output.finishing import finished
from inferloom_worker.output.parsing import Said
from inferloom_worker.output.pipeline import Pipeline
from inferloom_worker.validate.generate import Stopping


@dataclass(frozen=True, slots=True)
class Replayed:
    """Where a choice stands that goes on from committed tokens."""

    pipeline: Pipeline
    finished: pb.Finished | None = None
    """How it ended. None: it goes on."""
    told: bool = False
    """Whether its caller knows that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """What ends a choice of one request, beside what is read of its text."""

    stopping: Stopping
    tokens: frozenset[int]
    """Every token that does, the model's own included."""
    max_tokens: int


def replay(
    param: str,
    choice: int,
    pipeline: Pipeline,
    tokens: Sequence[int],
    ends: Ends,
    *,
    told: pb.Finished | None = None,
    complete: bool = False,
) -> Replayed:
    """Take committed tokens through the pipeline of a choice, in time linear in their number.

    What was said with them was said, so that only the choice's end may be left to be told: it is found where
    the last of them was the choice's last.

    Args:
        param: The tokens' field, for errors.
        choice: The choice's index.
        pipeline: Its pipeline, new.
        tokens: The tokens.
        ends: What ends it.
        told: How it ended, where that is known.
        complete: Whether its constraint lets nothing follow.

    Raises:
        InferloomError: INVALID_ARGUMENT: tokens follow one that ended the choice.
    """
    end: EndReason | None = None
    for place, token in enumerate(tokens):
        if end is not None or pipeline.matched is not None or pipeline.done:
            raise invalid(param, f"{param} goes on after token {place - 1}, which ended the choice.")
        if token in ends.tokens and place >= ends.stopping.min_tokens:
            end = EndReason.STOP_TOKEN
        hidden = end is not None and not ends.stopping.include_stop
        pipeline.push(token, Said(), hidden=hidden)
    if told is not None:
        return Replayed(pipeline, told, told=True)
    if pipeline.matched is not None or pipeline.done:
        return Replayed(pipeline, finished(choice, pipeline, ends.stopping))
    if end is None and complete:
        end = EndReason.COMPLETE
    if end is None and len(tokens) >= ends.max_tokens:
        end = EndReason.LENGTH
    if end is None:
        return Replayed(pipeline)
    pipeline.finish(Said())
    return Replayed(pipeline, finished(choice, pipeline, ends.stopping, end, tokens[-1] if tokens else None))
