"""How a choice ended, in the contract's words."""

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.engine.events import EndReason
from inferloom_worker.output.pipeline import Pipeline
from inferloom_worker.validate.generate import Stopping

_REASONS = {
    EndReason.STOP_TOKEN: pb.FINISH_REASON_STOP,
    EndReason.COMPLETE: pb.FINISH_REASON_STOP,
    EndReason.LENGTH: pb.FINISH_REASON_LENGTH,
    EndReason.DEADLINE: pb.FINISH_REASON_DEADLINE,
}


def finished(
    choice: int, pipeline: Pipeline, stopping: Stopping, end: EndReason | None = None, last: int | None = None
) -> pb.Finished:
    """How a choice ended whose pipeline has all of its tokens.

    Args:
        choice: Its index.
        pipeline: Its pipeline; a stop string that matched comes before any other reason.
        stopping: What was asked for.
        end: Why its engine ended it. None: it did not; what was read has all that may come.
        last: Its last token.
    """
    told = pb.Finished(choice=choice, completion_tokens=pipeline.tokens)
    if pipeline.matched is not None:
        told.reason, told.stop_string = pb.FINISH_REASON_STOP, pipeline.matched
        return told
    if end is None or (pipeline.called and end in (EndReason.STOP_TOKEN, EndReason.COMPLETE)):
        told.reason = pb.FINISH_REASON_TOOL_CALLS
    else:
        told.reason = _REASONS[end]
    if end is EndReason.STOP_TOKEN and last is not None and last in stopping.token_ids:
        told.stop_token_id = last
    return told
