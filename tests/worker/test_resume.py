"""A request that moves goes on as if nothing had happened: wherever it is cut, what was said before the cut
and what the next worker says are what an undisturbed run says."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engine.protocol import Generation
from inferloom_worker.engine.request import GenerationRequest
from inferloom_worker.hosting.answer import Terms
from inferloom_worker.hosting.generator import Generator
from inferloom_worker.hosting.load_options import LoadOptions
from inferloom_worker.hosting.model_loading import load_model
from inferloom_worker.text.pool import TextPool
from inferloom_worker.validate.generate import read_generate
from tests.wire.adapted_mesh import make_base
from tests.worker.adapters import make_adapter
from tests.worker.tool_templates import TEMPLATES

THINKING = TEMPLATES["hermes"].replace(
    "{% if add_generation_prompt %}<a>{% endif %}", "{% if add_generation_prompt %}<a><think>\n{% endif %}"
)
"""A template of a model that reasons first. Its turns with reasoning have ``</think>``."""

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {
            "orderName": {"type": "string", "minLength": 2, "maxLength": 9},
            "orderId": {"type": "integer", "minimum": 0, "maximum": 9999},
            "kinds": {
                "type": "array",
                "items": {"enum": ["tall", "kind", "old"]},
                "minItems": 1,
                "maxItems": 3,
            },
        },
        "required": ["orderName", "orderId", "kinds"],
    }
)
LOOK = pb.Tool(
    name="look",
    parameters_json_schema='{"type":"object","properties":{"at":{"enum":["sea","sky"]}},"required":["at"]}',
)
FEW = {ord(letter): 60.0 for letter in "abcdé"}


def text(words: str = "abcabdabcabeabcabd", /, most: int = 24, **fields: Any) -> pb.GenerateRequest:
    """A request for the completion of a text."""
    stopping = {"max_tokens": most, **fields.pop("stopping", {})}
    sampling = {"seed": 5, **fields.pop("sampling", {})}
    output = pb.OutputOptions(**fields.pop("output", {}))
    return pb.GenerateRequest(
        model="m",
        text=words,
        sampling=pb.SamplingOptions(**sampling),
        stopping=pb.StoppingOptions(**stopping),
        output=output,
        **fields,
    )


def chat(
    *, most: int = 60, tools: list[pb.Tool] | None = None, must: bool = False, **fields: Any
) -> pb.GenerateRequest:
    """A request for an answer in a conversation."""
    request = text("", most, **fields)
    said = pb.ChatMessage(role=pb.ROLE_USER, parts=[pb.ContentPart(text="Look!")])
    request.chat.CopyFrom(pb.ChatInput(messages=[said], tools=tools or []))
    if must:
        request.chat.tool_choice.mode = pb.TOOL_CHOICE_MODE_REQUIRED
    return request


GREEDY = {"temperature": 0}
DRAWN: dict[str, Any] = {"logit_bias": FEW, "temperature": 0.9}
STOPS = {"stop": ["ab", "cab", "dd", "éé", "bcd"]}

CASES: dict[str, pb.GenerateRequest] = {
    "greedy": text(sampling=GREEDY),
    "sampled": text(),
    "a few tokens": text(sampling=DRAWN),
    "filtered": text(sampling={"top_p": 0.8, "top_k": 9, "min_p": 0.05, **DRAWN}),
    "three choices": text(sampling={"n": 3, **DRAWN}, stopping={"stop": ["aa", "bd"]}),
    "penalties": text(
        sampling={
            "presence_penalty": 0.4,
            "frequency_penalty": 0.3,
            "repetition_penalty": 1.2,
            **DRAWN,
        }
    ),
    "stop strings": text(sampling=DRAWN, stopping=STOPS),
    "stop strings in the text": text(sampling=DRAWN, stopping={**STOPS, "include_stop": True}),
    "stop strings after the least": text(sampling=DRAWN, stopping={**STOPS, "min_tokens": 11}),
    "a stop token": text(sampling=DRAWN, stopping={"stop_token_ids": [ord("e"), ord("d")], "min_tokens": 5}),
    "log-probabilities": text(sampling=DRAWN, output={"logprobs": True, "top_logprobs": 3}),
    "best of": text(sampling={"n": 4, **DRAWN}, output={"logprobs": True}),
    "of the prompt too": text(sampling=DRAWN, output={"logprobs": True, "prompt_logprobs": 1, "echo": True}),
    "no end": text(sampling=DRAWN, stopping={"ignore_eos": True, "min_tokens": 9}),
    "allowed tokens": text(sampling={"allowed_token_ids": list(FEW), "temperature": 1.5}),
    "bad words": text(sampling={"bad_words": ["ab", "cd"], **DRAWN}),
    "expected": text(sampling=DRAWN, prediction="abcabdabcabeabcabdabcabd"),
    "cut prompt": text("abc" * 40, sampling=DRAWN, truncate_prompt_tokens=7),
    "json": text("{", 90, constraint=pb.Constraint(json_schema=SCHEMA)),
    "json, drawn from few": text(
        "{", 90, constraint=pb.Constraint(json_schema=SCHEMA), sampling={"n": 2, "frequency_penalty": 1.0}
    ),
    "regex that may end": text(
        constraint=pb.Constraint(regex="(ab|é){2,9}"), sampling={"n": 3}, stopping={"stop": ["bé"]}
    ),
    "chat": chat(sampling=DRAWN),
    "required calls": chat(tools=[LOOK], must=True, most=150, sampling={"n": 2}),
    "a schema after reasoning": chat(
        most=150, constraint=pb.Constraint(json_schema=SCHEMA), sampling={"logit_bias": {ord("<"): 8.0}}
    ),
    "special tokens": chat(sampling=DRAWN, output={"skip_special_tokens": False}),
}


@dataclass
class Choice:
    """What one choice came to."""

    tokens: list[int] = field(default_factory=list)
    text: str = ""
    reasoning: str = ""
    calls: dict[int, tuple[str, str, str]] = field(default_factory=dict)
    logprobs: list[tuple[int, float, int]] = field(default_factory=list)
    finished: pb.Finished | None = None

    def add(self, delta: pb.Delta) -> None:
        """Take in a Delta, which follows what there is."""
        assert self.finished is None
        if delta.token_ids:
            assert delta.token_index == len(self.tokens)
        self.tokens += delta.token_ids
        self.text += delta.text
        self.reasoning += delta.reasoning
        for call in delta.tool_calls:
            name, made, arguments = self.calls.get(call.index, ("", "", ""))
            self.calls[call.index] = (name + call.id, made + call.name, arguments + call.arguments)
        self.logprobs += [(entry.token_id, entry.logprob, entry.rank) for entry in delta.logprobs]


@dataclass
class Run:
    """What a request came to."""

    choices: dict[int, Choice] = field(default_factory=dict)
    usage: pb.Usage | None = None
    prompt: list[int] = field(default_factory=list)

    def add(self, event: pb.GenerateResponse) -> None:
        """Take in an event."""
        match event.WhichOneof("event"):
            case "delta":
                self.choices.setdefault(event.delta.choice, Choice()).add(event.delta)
            case "finished":
                choice = self.choices.setdefault(event.finished.choice, Choice())
                assert choice.finished is None
                choice.finished = event.finished
            case "prompt":
                self.prompt += event.prompt.token_ids
            case "completed":
                self.usage = event.completed.usage

    def resume(self, started: pb.Started) -> pb.Resume:
        """What another worker is told of it."""
        return pb.Resume(
            choices=[
                pb.ResumedChoice(choice=index, token_ids=choice.tokens, finished=choice.finished)
                for index, choice in self.choices.items()
                if choice.tokens or choice.finished is not None
            ],
            prompt_token_ids=started.prompt_token_ids,
        )


async def events(model: Generator, request: pb.GenerateRequest, texts: TextPool) -> list[pb.GenerateResponse]:
    """All that a model answers."""
    card = model.card
    asked = read_generate(
        request, card.vocabulary_size, card.sampling_defaults, honoured=card.supported_parameters
    )
    answer = await model.answer(asked, Terms(tell_prompt=True), texts)
    return [event async for batch in answer.events() for event in batch]


def again(request: pb.GenerateRequest, started: pb.Started, run: Run) -> pb.GenerateRequest:
    """The request for what a run has not."""
    other = pb.GenerateRequest()
    other.CopyFrom(request)
    other.sampling.MergeFrom(started.sampling)
    other.sampling.seed = started.seed
    other.resume.CopyFrom(run.resume(started))
    return other


async def check(
    model: Generator, request: pb.GenerateRequest, cuts: int, *, exact: bool, seed: int = 1
) -> None:
    """Cut a request's answer in places, and compare what comes together."""
    texts = TextPool()
    rng = random.Random(seed)
    try:
        whole = await events(model, request, texts)
        started = whole[0].started
        expected = Run()
        for event in whole:
            expected.add(event)
        assert expected.usage is not None
        places = range(1, len(whole))
        for cut in places if len(places) <= cuts else sorted(rng.sample(places, cuts)):
            run = Run()
            for event in whole[:cut]:
                run.add(event)
            loose = Counter[int]()
            if not run.resume(started).choices:
                run = Run()
            else:
                # What came without tokens behind the last one comes once more.
                for event in whole[1:cut]:
                    if event.HasField("delta"):
                        behind = 0 if event.delta.token_ids else loose[event.delta.choice] + 1
                        loose[event.delta.choice] = behind
            rest = await events(model, again(request, started, run), texts)
            for event in rest:
                if event.HasField("delta") and not event.delta.token_ids and loose[event.delta.choice]:
                    loose[event.delta.choice] -= 1
                    continue
                run.add(event)
            assert run.usage is not None
            assert rest[0].started.prompt_tokens == started.prompt_tokens
            assert not rest[0].started.prompt_token_ids or not run.resume(started).prompt_token_ids
            if not exact:
                for choice in (*run.choices.values(), *expected.choices.values()):
                    choice.logprobs = [
                        (token, round(value, 3), rank) for token, value, rank in choice.logprobs
                    ]
            assert run.choices == expected.choices, cut
            for name in ("prompt_tokens", "completion_tokens", "reasoning_tokens"):
                assert getattr(run.usage, name) == getattr(expected.usage, name), cut
            assert run.usage.cached_prompt_tokens <= run.usage.prompt_tokens
            assert run.prompt == expected.prompt
    finally:
        texts.close()


def load(path: Path, speculation: Any, **options: Any) -> Generator:
    """A model."""
    engine = EngineOptions(speculation=speculation, threads=1, **options)
    served = load_model("m", str(path), LoadOptions(engine=engine))
    assert isinstance(served, Generator)
    return served


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model that reads and writes bytes, with a template that reasons and calls. In widths that the
    kernels take."""
    widths = {"hidden_size": 96, "head_dim": 16}
    folder = make_base(tmp_path_factory.mktemp("base"), max_position_embeddings=1024, **widths)
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": THINKING}))
    return folder


@pytest.fixture(scope="module", params=["torch", "kernels, drafting"])
def tiny(folder: Path, request: pytest.FixtureRequest) -> Iterator[Generator]:
    """It in float32, and in the kernels with drafts wherever there is a guess."""
    if request.param == "torch":
        served = load(folder, "off", dtype="float32")
    else:
        served = load(folder, 4, quantize="int8")
        assert served.card.engine == "kernels"
    yield served
    served.close()


@pytest.mark.parametrize("case", CASES)
async def test_what_was_cut_goes_on(tiny: Generator, case: str) -> None:
    """Tokens, text, reasoning, calls with their ids, ends, counts; log-probabilities to the bit in the
    kernels."""
    await check(tiny, CASES[case], 4, exact=tiny.card.engine == "kernels")


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
async def test_wherever_it_was_cut(tiny: Generator, case: str) -> None:
    """After many of the events, and others than those that every run takes."""
    exact = tiny.card.engine == "kernels"
    await check(tiny, CASES[case], 32 if exact else 8, exact=exact, seed=2)


async def test_what_had_begun_elsewhere_counts_as_moved(
    tiny: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it had come to no token there: somebody has waited for it already."""
    seen: list[bool] = []
    submit = tiny.engine.submit

    def noted(request: GenerationRequest) -> Generation:
        seen.append(request.moved)
        return submit(request)

    monkeypatch.setattr(tiny.engine, "submit", noted)
    texts = TextPool()
    request = text(most=3)
    for resume in (None, pb.Resume(), pb.Resume(choices=[pb.ResumedChoice(token_ids=[ord("a")])])):
        request.ClearField("resume")
        if resume is not None:
            request.resume.CopyFrom(resume)
            request.resume.SetInParent()
        await events(tiny, request, texts)
    texts.close()
    assert seen == [False, True, True]


async def test_an_adapter_goes_on(folder: Path, tmp_path: Path) -> None:
    """As the adapter."""
    base = load(folder, "off", dtype="float32")
    try:
        adapter = base.load_adapter(make_adapter(tmp_path, folder))
        card = pb.Model()
        card.CopyFrom(base.card)
        await check(base.variant(card, adapter), CASES["sampled"], 5, exact=False)
    finally:
        base.close()


async def test_tokens_that_cannot_have_come_are_refused(tiny: Generator) -> None:
    """They are no beginning of what the constraint allows."""
    request = text(constraint=pb.Constraint(regex="abc"))
    request.resume.choices.add(token_ids=b"ax")
    texts = TextPool()
    try:
        with pytest.raises(InferloomError, match="does not conform") as caught:
            await events(tiny, request, texts)
    finally:
        texts.close()
    assert (caught.value.reason, caught.value.param) == (
        Reason.INVALID_ARGUMENT,
        "resume.choices[0].token_ids",
    )


DEMO: dict[str, pb.GenerateRequest] = {
    "sampled": text("Once upon a time", 40, sampling={"temperature": 0.8, "n": 2}),
    "greedy": text("1, 2, 3, 4, 5, 6, 7,", 40, sampling=GREEDY, stopping={"stop": ["12, 13, 1"]}),
    "json": text("A person, as JSON:", 60, constraint=pb.Constraint(json_schema=SCHEMA)),
    "a chat with calls": chat(tools=[LOOK], must=True, most=80),
}


@pytest.mark.parametrize("case", DEMO)
async def test_the_demo_model_goes_on(smollm_file: Path, case: str) -> None:
    """A real tokenizer, whose characters and words are several tokens, in the kernels, bit for bit."""
    model = load(smollm_file, "auto")
    try:
        await check(model, DEMO[case], 3, exact=True)
    finally:
        model.close()
