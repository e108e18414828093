"""A request that goes on from what another worker committed: where each of its choices stands. Blocking."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from inferloom_mesh.errors import invalid
from inferloom_mesh.light_dataclasses import dataclass
from inferloom_worker.engine.constraint import ConstraintError, Matcher
from inferloom_worker.engine.request import Committed, GenerationRequest
from inferloom_worker.output.pipeline import Pipeline
from inferloom_worker.output.replay import Ends, Replayed, replay
from inferloom_worker.validate.generate import Stopping
from inferloom_worker.validate.resume import CommittedChoice, Resumption


@dataclass(frozen=True, slots=True)
class Resumed:
    """A request for what is missing, and where its choices stand."""

    request: GenerationRequest
    choices: Mapping[int, Replayed]


def resume(
    asked: Resumption,
    request: GenerationRequest,
    stopping: Stopping,
    pipeline: Callable[[int], Pipeline],
) -> Resumed:
    """Replay what was committed through pipelines and constraint.

    Args:
        asked: What was committed.
        request: The request as if it were new.
        stopping: When its choices end.
        pipeline: Makes a choice's pipeline.

    Raises:
        InferloomError: INVALID_ARGUMENT: these are no tokens that the request can have come to.
    """
    ends = Ends(stopping=stopping, tokens=request.stop_token_ids, max_tokens=request.max_tokens)
    choices: dict[int, Replayed] = {}
    committed: dict[int, Committed] = {}
    for choice, each in asked.choices.items():
        if len(each.token_ids) > request.max_tokens:
            most = request.max_tokens
            words = f"{each.param} holds {len(each.token_ids)} tokens, and there is room for {most}."
            raise invalid(each.param, words)
        matcher = _matcher(request, each)
        choices[choice] = replay(
            each.param,
            choice,
            pipeline(choice),
            each.token_ids,
            ends,
            told=each.finished,
            complete=matcher is not None and matcher.ended,
        )
        if choices[choice].finished is None:
            committed[choice] = Committed(each.token_ids, matcher)
    over = frozenset(choices.keys() - committed.keys())
    return Resumed(replace(request, committed=committed, over=over), choices)


def _matcher(request: GenerationRequest, each: CommittedChoice) -> Matcher | None:
    """The constraint's matcher after the choice's tokens. None: there is none, or the choice has ended."""
    if request.constraint is None or each.finished is not None:
        return None
    matcher, tokens = request.constraint.matcher(), each.token_ids
    if len(tokens) > request.min_tokens and tokens[-1] in request.stop_token_ids:
        return None
    try:
        matcher.replay(tokens)
    except ConstraintError as error:
        raise invalid(each.param, f"{each.param} does not conform to the constraint: {error}") from error
    return matcher
