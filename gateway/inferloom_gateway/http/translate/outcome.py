"""What a generation came to: a fold over its events."""

from dataclasses import dataclass, field

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls.tokens import Tokens

FINISH_REASONS: dict[int, str] = {
    pb.FINISH_REASON_STOP: "stop",
    pb.FINISH_REASON_LENGTH: "length",
    pb.FINISH_REASON_TOOL_CALLS: "tool_calls",
    # OpenAI clients know no deadline; like a length it means that the text was cut.
    pb.FINISH_REASON_DEADLINE: "length",
}


@dataclass(slots=True)
class Choice:
    """One completion."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    logprobs: list[pb.TokenLogprob] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    before: str = ""
    """Its text before any tokens: the prompt, where it is repeated."""
    tool_calls: dict[int, pb.ToolCall] = field(default_factory=dict)
    finish_reason: str | None = None
    late: bool = False
    """Whether its time was over before it was whole."""


def why_cut(*, late: bool) -> dict[str, str]:
    """What a choice says besides its finish reason, in the field in which vLLM and SGLang do."""
    return {"stop_reason": "deadline"} if late else {}


class Outcome:
    """The choices and the usage of one generation, complete after its last event."""

    def __init__(self, n: int) -> None:
        self.choices = [Choice() for _ in range(n)]
        self.usage = pb.Usage()
        self.started = pb.Started()
        self.prompt_ids: list[int] = []
        self.prompt_logprobs: list[pb.TokenLogprob] = []

    def add(self, event: pb.GenerateResponse) -> None:
        """Fold one event in."""
        match event.WhichOneof("event"):
            case "delta":
                self._delta(event.delta)
            case "prompt":
                self.prompt_ids.extend(event.prompt.token_ids)
                self.prompt_logprobs.extend(event.prompt.logprobs)
            case "started":
                self.started = event.started
            case "finished":
                choice, reason = self.choices[event.finished.choice], event.finished.reason
                choice.finish_reason = FINISH_REASONS.get(reason)
                choice.late = reason == pb.FINISH_REASON_DEADLINE
            case "completed":
                self.usage = event.completed.usage

    def tokens(self, tokens: Tokens) -> None:
        """Fold a Delta in that is nothing but tokens and text."""
        choice = self.choices[tokens.choice]
        if tokens.text:
            choice.text.append(tokens.text)
            if not (tokens.ids or choice.token_ids):
                choice.before += tokens.text
        choice.token_ids.extend(tokens.ids)

    @property
    def entries(self) -> int:
        """Log-probabilities that the answer has to show, alternatives left out."""
        of_prompt = len(self.prompt_logprobs) * len(self.choices)
        return of_prompt + sum(len(choice.logprobs) for choice in self.choices)

    def _delta(self, delta: pb.Delta) -> None:
        choice = self.choices[delta.choice]
        if delta.text:
            choice.text.append(delta.text)
            if not (delta.token_ids or delta.logprobs or choice.token_ids or choice.logprobs):
                choice.before += delta.text
        if delta.reasoning:
            choice.reasoning.append(delta.reasoning)
        choice.logprobs.extend(delta.logprobs)
        choice.token_ids.extend(delta.token_ids)
        for part in delta.tool_calls:
            call = choice.tool_calls.setdefault(part.index, pb.ToolCall())
            call.id = call.id or part.id
            call.name = call.name or part.name
            call.arguments += part.arguments
            call.custom = part.custom
