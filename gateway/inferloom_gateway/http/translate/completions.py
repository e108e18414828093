"""POST /v1/completions: the body to a plan, and the outcomes of its generations to one body."""

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.schema.completions import CompletionRequest
from inferloom_gateway.http.schema.prompts import Prompt
from inferloom_gateway.http.translate import constraints, fields, options
from inferloom_gateway.http.translate.fingerprint import fingerprint
from inferloom_gateway.http.translate.logprobs import TextLogprobs, mean_logprob, prompt_logprobs
from inferloom_gateway.http.translate.outcome import Choice, Outcome, why_cut
from inferloom_gateway.http.translate.plan import Part, Plan
from inferloom_gateway.http.translate.text_chunks import TextChunks
from inferloom_gateway.http.translate.usage import completion_usage, total
from inferloom_mesh.errors import invalid, unsupported

DEFAULT_MAX_TOKENS = 16
"""OpenAI's default for this endpoint."""

MAX_CHOICES = 128
"""Most choices of one request, over all of its prompts."""


def plan(body: CompletionRequest, request_id: str, created: int) -> Plan:
    """What a completion request becomes: one generation per prompt, their choices numbered through."""
    n, drawn = body.n or 1, _drawn(body)
    count = len(body.prompt)
    if drawn * count > MAX_CHOICES:
        name = "n" if drawn == n else "best_of"
        raise invalid(
            name, f"{name} times the number of prompts is {drawn * count}; at most {MAX_CHOICES} are allowed."
        )
    reports = options.reports(body)
    names = [request_id] if count == 1 else [f"{request_id[:120]}.{i}" for i in range(count)]
    shown = _Shown(body, f"cmpl-{request_id}", created)
    parts = [
        Part(
            _request(body, prompt, names[i], drawn),
            TextChunks(
                shown.answer_id,
                body.model,
                created,
                i * n,
                shown.logprobs(prompt, n),
                reports,
                echo=shown.echo,
            ),
            _named(body, "prompt" if count == 1 else f"prompt[{i}]"),
        )
        for i, prompt in enumerate(body.prompt)
    ]
    return Plan(parts=parts, stream=bool(body.stream), body=shown.body)


def _drawn(body: CompletionRequest) -> int:
    """How many completions of each prompt are drawn, of which the best are shown.

    Raises:
        InferloomError: They are too few, or cannot be compared because they are streamed.
    """
    n = body.n or 1
    if body.best_of is None or body.best_of == n:
        return n
    if body.best_of < n:
        raise invalid("best_of", f"best_of must be at least n, which is {n}, and not {body.best_of}.")
    if body.stream:
        raise unsupported("best_of", "best_of above n is not supported when stream is true.")
    return body.best_of


def _named(body: CompletionRequest, prompt: str) -> fields.Rename:
    """What the caller calls the fields of the generation of one prompt."""
    general = constraints.named(fields.of_completion(prompt), body)
    if body.max_completion_tokens is None:
        return general
    return lambda path: "max_completion_tokens" if path == "stopping.max_tokens" else general(path)


def _request(body: CompletionRequest, prompt: Prompt, name: str, drawn: int) -> pb.GenerateRequest:
    best = drawn > (body.n or 1)
    most = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    request = pb.GenerateRequest(
        model=body.model,
        request_id=name,
        sampling=options.sampling(body),
        stopping=options.stopping(body, DEFAULT_MAX_TOKENS if most is None else most),
        constraint=constraints.constraint(body),
        output=options.output(body, body.logprobs, echo=bool(body.echo), chosen_by_logprob=best),
        suffix=body.suffix or "",
        **options.common(body),
    )
    if best:
        request.sampling.n = drawn
    if isinstance(prompt, str):
        request.text = prompt
    else:
        request.token_ids.ids.extend(prompt)
    return request


@dataclass(frozen=True, slots=True)
class _Shown:
    """How outcomes are shown."""

    request: CompletionRequest
    answer_id: str
    created: int

    @property
    def echo(self) -> bool:
        return bool(self.request.echo)

    def logprobs(self, prompt: Prompt, n: int) -> list[TextLogprobs]:
        """What makes the log-probabilities of a prompt's choices: with echo, of all tokens."""
        asked = self.request
        # The text of token ids is not known here.
        base = len(prompt) if isinstance(prompt, str) and not asked.echo else 0
        return [
            TextLogprobs(
                base, top=asked.logprobs, every=self.echo, as_ids=bool(asked.return_tokens_as_token_ids)
            )
            for _ in range(n)
        ]

    def body(self, outcomes: Sequence[Outcome]) -> bytes:
        """The answer."""
        n = self.request.n or 1
        choices = [
            self._choice(index * n + place, outcome, choice, logprobs)
            for index, (outcome, prompt) in enumerate(zip(outcomes, self.request.prompt, strict=True))
            for place, (choice, logprobs) in enumerate(
                zip(_best(outcome.choices, n), self.logprobs(prompt, n), strict=True)
            )
        ]
        return orjson.dumps(
            {
                "id": self.answer_id,
                "object": "text_completion",
                "created": self.created,
                "model": self.request.model,
                "choices": choices,
                "usage": completion_usage(total(outcome.usage for outcome in outcomes)),
                "system_fingerprint": fingerprint(outcomes[0].started),
            }
        )

    def _choice(
        self, index: int, outcome: Outcome, choice: Choice, logprobs: TextLogprobs
    ) -> dict[str, object]:
        asked = self.request
        found = None
        if self.echo and asked.logprobs is not None:
            found = logprobs.of_prompt(outcome.prompt_logprobs, choice.before)
            for name, more in logprobs.of(choice.logprobs).items():
                found[name] += more
        elif asked.logprobs is not None and choice.logprobs:
            found = logprobs.of(choice.logprobs)
        shown: dict[str, object] = {
            "index": index,
            "text": "".join(choice.text),
            "logprobs": found,
            "finish_reason": choice.finish_reason,
            **why_cut(late=choice.late),
        }
        if asked.prompt_logprobs is not None:
            shown["prompt_logprobs"] = prompt_logprobs(outcome.prompt_logprobs, asked.prompt_logprobs)
        if asked.return_token_ids:
            shown |= {"prompt_token_ids": outcome.prompt_ids, "token_ids": choice.token_ids}
        return shown


def _best(choices: Sequence[Choice], n: int) -> Sequence[Choice]:
    """The ``n`` choices whose tokens are the likeliest on average, the best first; all as they are drawn if
    they are no more."""
    if len(choices) <= n:
        return choices
    return sorted(choices, key=lambda choice: -mean_logprob(choice.logprobs))[:n]
