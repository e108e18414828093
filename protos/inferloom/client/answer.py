"""What the events of a generation come to. Pure."""

from dataclasses import dataclass, field

from inferloom.v1 import inference_pb2 as pb


@dataclass(slots=True)
class Call:
    """A call of a function that the model asked for."""

    id: str
    name: str
    arguments: str
    """As the model wrote them: text that should be a JSON object."""


@dataclass(slots=True)
class Choice:
    """One answer."""

    text: str = ""
    reasoning: str = ""
    calls: list[Call] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[pb.TokenLogprob] = field(default_factory=list)
    finished: pb.Finished | None = None
    """How it ended. None: it has not."""

    @property
    def finish_reason(self) -> str:
        """Such as ``stop``, ``length`` or ``tool_calls``; empty while it goes on."""
        if self.finished is None:
            return ""
        return pb.FinishReason.Name(self.finished.reason).removeprefix("FINISH_REASON_").lower()


@dataclass(slots=True)
class Answer:
    """A generation as far as it came."""

    started: pb.Started | None = None
    """What the mesh said when it accepted the request."""
    choices: list[Choice] = field(default_factory=list)
    completed: pb.Completed | None = None
    """What it took. None: it is not over."""

    @property
    def text(self) -> str:
        """The text of the first choice."""
        return self.choices[0].text if self.choices else ""

    @property
    def calls(self) -> list[Call]:
        """The calls of the first choice."""
        return self.choices[0].calls if self.choices else []

    @property
    def usage(self) -> pb.Usage:
        """Tokens read and generated; zeros while it is not over."""
        return pb.Usage() if self.completed is None else self.completed.usage

    def add(self, event: pb.GenerateResponse) -> str:
        """Take an event in; return the text that it adds to the first choice."""
        match event.WhichOneof("event"):
            case "started":
                self.started = event.started
            case "delta":
                return self._delta(event.delta)
            case "finished":
                self._choice(event.finished.choice).finished = event.finished
            case "completed":
                self.completed = event.completed
        return ""

    def _delta(self, delta: pb.Delta) -> str:
        choice = self._choice(delta.choice)
        choice.text += delta.text
        choice.reasoning += delta.reasoning
        choice.token_ids.extend(delta.token_ids)
        choice.logprobs.extend(delta.logprobs)
        for part in delta.tool_calls:
            if part.index >= len(choice.calls):
                choice.calls.append(Call(part.id, part.name, ""))
            choice.calls[part.index].arguments += part.arguments
        return delta.text if delta.choice == 0 else ""

    def _choice(self, index: int) -> Choice:
        while len(self.choices) <= index:
            self.choices.append(Choice())
        return self.choices[index]
