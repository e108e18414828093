"""What a request says was already generated for it."""

from collections.abc import Mapping
from dataclasses import dataclass

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import invalid
from inferloom_mesh.named_fields import named
from inferloom_worker.validate import checks


@dataclass(frozen=True, slots=True)
class CommittedChoice:
    """What one choice has, and how it ended if it has."""

    param: str
    """The field of its tokens, for errors."""
    token_ids: list[int]
    finished: pb.Finished | None


@dataclass(frozen=True, slots=True)
class Resumption:
    """Where a request goes on."""

    choices: Mapping[int, CommittedChoice]
    prompt_ids: list[int]
    """The prompt as it was first read. Empty: it is read again."""


def read_resume(request: pb.GenerateRequest, vocab_size: int, n: int) -> Resumption | None:
    """Check what a request with ``n`` choices says of that. None: nothing, it is new.

    Raises:
        InferloomError: INVALID_ARGUMENT, at the field.
    """
    if not request.HasField("resume"):
        return None
    resume = request.resume
    prompt: list[int] = []
    if resume.prompt_token_ids:
        prompt = checks.token_ids("resume.prompt_token_ids", resume.prompt_token_ids, vocab_size)
    choices: dict[int, CommittedChoice] = {}
    for index, each in enumerate(resume.choices):
        place = f"resume.choices[{index}]"
        if each.choice >= n:
            raise invalid(f"{place}.choice", f"{place}.choice is {each.choice}; the request has {n} choices.")
        if each.choice in choices:
            raise invalid(f"{place}.choice", f"{place}.choice is {each.choice}, which is there already.")
        choices[each.choice] = _choice(place, each, request.stopping, vocab_size)
    return Resumption(choices, prompt)


def _choice(
    place: str, each: pb.ResumedChoice, stopping: pb.StoppingOptions, vocab_size: int
) -> CommittedChoice:
    param, count = f"{place}.token_ids", len(each.token_ids)
    finished = each.finished if each.HasField("finished") else None
    if stopping.HasField("max_tokens") and count > stopping.max_tokens:
        most = stopping.max_tokens
        raise invalid(param, f"{param} holds {count} tokens, and {named('stopping.max_tokens')} is {most}.")
    if finished is not None:
        _check_finished(f"{place}.finished", each, stopping)
    ids = checks.token_ids(param, each.token_ids, vocab_size) if count or finished is None else []
    return CommittedChoice(param, ids, finished)


def _check_finished(place: str, each: pb.ResumedChoice, stopping: pb.StoppingOptions) -> None:
    told, count = each.finished, len(each.token_ids)
    if told.choice != each.choice:
        param = f"{place}.choice"
        raise invalid(param, f"{param} is {told.choice}, and the choice is {each.choice}.")
    if told.reason not in pb.FinishReason.values() or not told.reason:
        raise invalid(f"{place}.reason", f"{place}.reason is no reason that a choice ends for.")
    if told.completion_tokens != count:
        param = f"{place}.completion_tokens"
        raise invalid(param, f"{param} is {told.completion_tokens}, and the choice has {count} tokens.")
    if told.HasField("stop_string") and told.stop_string not in stopping.stop:
        param = f"{place}.stop_string"
        raise invalid(param, f"{param} is none of {named('stopping.stop')}.")
    if told.HasField("stop_token_id") and (
        told.stop_token_id not in stopping.stop_token_ids or each.token_ids[-1:] != [told.stop_token_id]
    ):
        param = f"{place}.stop_token_id"
        ends = named("stopping.stop_token_ids")
        raise invalid(param, f"{param} is none of {ends}, or not the choice's last token.")
