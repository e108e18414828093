"""How far a generation has come: all that another worker has to know to go on with it. Pure."""

from array import array
from collections.abc import Sequence

from inferloom.v1.inference_pb2 import (
    HEARTBEAT_PHASE_QUEUED,
    Finished,
    GenerateRequest,
    GenerateResponse,
    Heartbeat,
    Prompt,
    ResumedChoice,
    Started,
)
from inferloom_gateway.calls.attempt import worker_lost
from inferloom_gateway.calls.tokens import Tokens
from inferloom_mesh.errors import InferloomError, Reason

_MESH = frozenset(
    {
        *(Reason.NO_WORKER, Reason.SERVER_OVERLOADED, Reason.MODEL_NOT_FOUND, Reason.UNSUPPORTED_TASK),
        *(Reason.INVALID_ARGUMENT, Reason.UNSUPPORTED_PARAMETER, Reason.CONTEXT_LENGTH_EXCEEDED),
    }
)
"""What a worker says of a request that another has accepted: it does not concern the caller."""


class _Choice:
    """What the caller has of one choice."""

    __slots__ = ("again", "finished", "ids", "loose", "place")

    def __init__(self) -> None:
        self.ids = array("I")
        self.place = 0
        """How many tokens it had when a Delta without any came last."""
        self.loose = 0
        """How many such came there: the prompt repeated, what belongs to a token that has not come, what its
        end makes final."""
        self.again = 0
        """How many of them come again, because another worker goes on from there."""
        self.finished: Finished | None = None


class GenerationProgress:
    """A generation goes on elsewhere after the tokens that its caller has: four bytes for each are kept.

    The caller sees one Started, each token once, and each end once. Where no other worker can go on, a
    generation of which its caller has seen nothing yet begins anew with the seed that it had; with ``whole``
    that is so until its end, and Started is shown once more.
    """

    def __init__(self, request: GenerateRequest, *, whole: bool = False) -> None:
        self.size = 0
        self.completed = False
        self._request = request
        self._whole = whole
        self._started: Started | None = None
        self._anew = False
        self._choices: dict[int, _Choice] = {}
        self._prompt = array("I")
        self._told = 0
        """Tokens of the prompt that were told."""
        self._seen = False
        if request.HasField("resume"):
            self._prompt.extend(request.resume.prompt_token_ids)
            for each in request.resume.choices:
                self._of(each.choice).ids.extend(each.token_ids)
                if each.HasField("finished"):
                    self._of(each.choice).finished = each.finished

    @property
    def prompt(self) -> Sequence[int]:
        """The prompt's tokens, as a worker told them. Empty: they are the input itself."""
        return self._prompt

    @property
    def place(self) -> int | None:
        """How many tokens the caller has seen; None: nothing."""
        return sum(len(choice.ids) for choice in self._choices.values()) if self._seen else None

    @property
    def told_as_text(self) -> bool:
        """Whether the caller has text whose tokens nobody told, behind which no worker can go on."""
        echo = int(self._request.output.echo)
        return any(choice.loose > echo and not choice.ids for choice in self._choices.values())

    @property
    def ends(self) -> Sequence[int]:
        """Why each choice that has ended did."""
        choices = (choice.finished for _, choice in sorted(self._choices.items()))
        return [each.reason for each in choices if each is not None]

    def take(self, event: GenerateResponse) -> GenerateResponse | None:
        """Note an event; return what the caller is to see of it."""
        kind = event.WhichOneof("event")
        self.size = 0
        if kind == "delta":
            delta = event.delta
            return event if self._note(delta.choice, delta.token_ids) else None
        if kind == "started":
            return self._start(event)
        if kind == "finished":
            choice = self._of(event.finished.choice)
            again, choice.finished = choice.finished is not None, event.finished
            self._seen = True
            return None if again else event
        if kind == "prompt":
            return self._tell(event)
        self.completed = kind == "completed"
        return event

    def tokens(self, tokens: Tokens) -> Tokens | None:
        """Note a Delta; return what the caller is to see of it."""
        choice, ids = self._choices.get(tokens.choice), tokens.ids
        if ids and choice is not None:  # as nearly always
            self.size = len(ids)
            self._seen = True
            choice.ids.extend(ids)
            return tokens
        return tokens if self._note(tokens.choice, ids) else None

    def rest(self, *, resumes: bool = True) -> GenerateRequest | None:
        """The request with what there is of it. Without workers that resume, the request anew, if the caller
        has seen nothing or wants the whole."""
        if self.completed or not (resumes or self._whole or not self._seen):
            return None
        self._expect_again()
        if self._started is None:
            return self._request
        again = GenerateRequest()
        again.CopyFrom(self._request)
        again.sampling.MergeFrom(self._started.sampling)
        if self._started.seed:  # a server outside of the mesh may not tell its own
            again.sampling.seed = self._started.seed
        if not resumes:
            self._begin_anew()
            return again
        again.resume.Clear()
        again.resume.SetInParent()  # without any choice it tells that another worker had begun
        again.resume.prompt_token_ids.extend(self._prompt)
        for index, choice in sorted(self._choices.items()):
            if choice.ids or choice.finished is not None:
                again.resume.choices.append(
                    ResumedChoice(choice=index, token_ids=choice.ids, finished=choice.finished)
                )
        return again

    def end(self) -> GenerateResponse | None:
        """Never: what a generation used is only known from its worker."""
        return None

    def waiting(self) -> GenerateResponse:
        """A heartbeat."""
        return GenerateResponse(heartbeat=Heartbeat(phase=HEARTBEAT_PHASE_QUEUED))

    def restated(self, error: InferloomError) -> InferloomError:
        """The error, or that the worker was lost, where another does not go on with what was accepted."""
        if self._started is not None and self._seen and not self._whole and error.reason in _MESH:
            return worker_lost()
        return error

    def _of(self, index: int) -> _Choice:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _Choice()
        return choice

    def _note(self, index: int, ids: Sequence[int]) -> bool:
        """Note a Delta; whether it is news."""
        choice = self._of(index)
        # Of a server that tells text alone, an event is taken for a token.
        self.size = len(ids) or int(not (choice.ids or self._request.output.echo))
        self._seen = True
        if ids:
            choice.ids.extend(ids)
            return True
        if choice.place != len(choice.ids):
            choice.place, choice.loose, choice.again = len(choice.ids), 0, 0
        if choice.again:
            choice.again -= 1
            return False
        choice.loose += 1
        return True

    def _expect_again(self) -> None:
        """Another worker goes on: what it says before the next token was said, where it was."""
        listed = any(choice.ids or choice.finished is not None for choice in self._choices.values())
        for choice in self._choices.values():
            choice.again = choice.loose if choice.place == len(choice.ids) else 0
            if choice.again and not choice.ids and listed and self._request.output.echo:
                choice.again -= 1  # the prompt is not repeated

    def _start(self, event: GenerateResponse) -> GenerateResponse | None:
        """Note what is resolved by the worker that accepted the request; only its first word on it counts."""
        again = self._started is not None
        if not again:
            self._started = Started(seed=event.started.seed, sampling=event.started.sampling)
            if event.started.prompt_token_ids:
                self._prompt = array("I", event.started.prompt_token_ids)
        event.started.ClearField("prompt_token_ids")
        anew, self._anew = self._anew, False
        return None if again and not anew else event

    def _tell(self, event: GenerateResponse) -> GenerateResponse | None:
        """What is new of a part of the prompt."""
        prompt = event.prompt
        self._seen = True
        known = self._told - prompt.token_index
        self._told = max(self._told, prompt.token_index + len(prompt.token_ids))
        if known <= 0:
            return event
        if known >= len(prompt.token_ids):
            return None
        return GenerateResponse(
            prompt=Prompt(
                token_index=prompt.token_index + known,
                token_ids=prompt.token_ids[known:],
                logprobs=prompt.logprobs[known:],
            )
        )

    def _begin_anew(self) -> None:
        self._anew = self._seen
        self._seen = False
        self._choices.clear()
        self._told = 0
