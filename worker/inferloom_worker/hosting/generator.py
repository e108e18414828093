"""A loaded model that generates."""

from collections.abc import Callable
from copy import copy
from functools import partial
from pathlib import Path

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2, worker_pb2
from inferloom_mesh.errors import unsupported
from inferloom_worker.constrain.grammar import Grammars
from inferloom_worker.embed.cosine import CosineRanker
from inferloom_worker.embed.protocol import TokenEmbedder
from inferloom_worker.engine.adapter import Adapter
from inferloom_worker.engine.health import Health
from inferloom_worker.engine.nothing import NothingGenerated, submit
from inferloom_worker.engine.protocol import Engine, Generation
from inferloom_worker.engine.request import GenerationRequest
from inferloom_worker.hosting.answer import Terms, TokenAnswer
from inferloom_worker.hosting.dialect import Dialect, calling
from inferloom_worker.hosting.engine_request import (
    TokenizedPrompt,
    drawn_with,
    engine_request,
    is_quick,
    is_short,
    tells_of_prompt,
    told,
)
from inferloom_worker.hosting.prompts import Prompts
from inferloom_worker.hosting.resuming import Resumed, resume
from inferloom_worker.hosting.tool_constraint import Enforced, enforced
from inferloom_worker.output.completion import Completion, make_pipeline
from inferloom_worker.output.parsing import PLAIN, Reading
from inferloom_worker.text.job import Trial
from inferloom_worker.text.pool import TextPool
from inferloom_worker.text.template import ChatTemplate
from inferloom_worker.text.tokenizer import Tokenizer
from inferloom_worker.validate.generate import (
    ChatPrompt,
    CompletionRequest,
    fit_max_tokens,
)
from inferloom_worker.validate.resume import Resumption

COMPILING_THREADS, COMPILING_EACH = 4, 2
"""Grammars that are compiled at once, and those of one tenant: his may take long."""

COMPILING_S = 35.0
"""Time that one may take: more than all that it may wait for (:mod:`.constrain.trials`), which is no fault of
its own."""


class Generator:
    """A model that generates. Where its engine shows its states, it gives vectors too."""

    adapter: Adapter | None = None
    """What its requests ask the engine for."""

    _owner = True
    """Whether the engine is its own to close."""

    remote_texts = None
    away = None

    def __init__(
        self,
        card: pb.Model,
        tokenizer: Tokenizer,
        template: ChatTemplate | None,
        engine: Engine,
        embedder: TokenEmbedder | None = None,
        grammars: Grammars | None = None,
        dialect: Dialect | None = None,
    ) -> None:
        self.card = card
        self.tokenizer = tokenizer
        self.template = template
        self.dialect = Dialect(template, tokenizer) if dialect is None and template is not None else dialect
        self.engine = engine
        self.embedder = embedder
        self.grammars = grammars
        self._compiling = TextPool(
            threads=COMPILING_THREADS,
            each=COMPILING_EACH,
            limit_s=COMPILING_S,
            doing="compiling grammars for",
        )
        self.prompts = Prompts(card, tokenizer, template, self.dialect, drafts=engine.info.drafts)
        self.trial = Trial()
        """How its template has done with short conversations."""

    async def answer(self, asked: CompletionRequest, terms: Terms, texts: TextPool) -> TokenAnswer:
        prompt = await texts.run(
            asked.prompt.param,
            partial(self.prompts.read, asked),
            tenant=terms.tenant,
            quick=is_quick(asked),
            trial=self.trial if is_short(asked) else None,
        )
        constraint = await self._constrain(asked, prompt, terms.tenant)
        request = engine_request(
            asked,
            prompt,
            terms,
            tokenizer=self.tokenizer,
            context_length=self.card.context_length,
            adapter=self.adapter,
            constraint=None if constraint is None else constraint.constraint,
        )
        about_prompt = await texts.run(
            asked.prompt.param,
            partial(told, asked, prompt, self.tokenizer),
            tenant=terms.tenant,
            quick=not tells_of_prompt(asked),
        )
        reading = await texts.run(
            "chat.tools",
            partial(self._reading, asked, prompt.text),
            tenant=terms.tenant,
            quick=is_short(asked) or not self._reads_schemas(asked),
        )
        resumed = Resumed(request, {})
        if asked.resume is not None and asked.resume.choices:
            work = partial(self._resume, asked, asked.resume, request, reading)
            resumed = await texts.run("resume.choices", work, tenant=terms.tenant)
        if resumed.request.choices:
            generation: Generation = submit(self.engine, resumed.request)
        else:
            generation = NothingGenerated(0)
        completion = Completion(
            generation,
            self.tokenizer,
            asked.stopping,
            len(prompt.ids),
            asked.n,
            reading,
            prompt=about_prompt.report,
            echo=about_prompt.echo,
            skip_special_tokens=asked.skip_special_tokens,
            replayed=resumed.choices,
        )
        started = pb.Started(
            request_id=asked.request_id,
            model=self.card.id,
            prompt_tokens=len(prompt.ids),
            seed=asked.sampling.seed,
            compute_hash=self.card.compute_hash,
            sampling=drawn_with(asked.sampling),
            notes=() if constraint is None else constraint.notes,
            priority=asked.priority,
            prompt_token_ids=prompt.ids if terms.tell_prompt and prompt.reread else (),
        )
        entries = 0 if asked.top_logprobs is None else 1 + asked.top_logprobs
        return TokenAnswer(generation, completion, [pb.GenerateResponse(started=started)], entries)

    def _resume(
        self, asked: CompletionRequest, at: Resumption, request: GenerationRequest, reading: Reading
    ) -> Resumed:
        hidden = self.tokenizer.special_ids if asked.skip_special_tokens else frozenset[int]()
        pipeline = partial(
            make_pipeline,
            tokenizer=self.tokenizer,
            stopping=asked.stopping,
            reading=reading,
            hidden=hidden,
        )
        return resume(at, request, asked.stopping, pipeline)

    def _reads_schemas(self, asked: CompletionRequest) -> bool:
        if not isinstance(asked.prompt, ChatPrompt) or self.dialect is None:
            return False
        return self.dialect.reads_schemas(asked.prompt.chat)

    def _reading(self, asked: CompletionRequest, prompt: str | None) -> Reading:
        if not isinstance(asked.prompt, ChatPrompt) or self.dialect is None:
            return PLAIN
        return self.dialect.reading(asked.prompt.chat, prompt, asked.sampling.seed)

    async def _constrain(
        self, asked: CompletionRequest, prompt: TokenizedPrompt, tenant: str
    ) -> Enforced | None:
        """What the answer must conform to, for the engine. Raises InferloomError where that cannot be
        enforced."""
        chat = asked.prompt.chat if isinstance(asked.prompt, ChatPrompt) else pb.ChatInput()
        may = calling(chat)
        if asked.grammar is None and may is None:
            return None
        if self.grammars is None:
            if asked.grammar is None and may is not None and not may.must:
                return None
            param = "constraint" if asked.grammar is not None else "chat.tool_choice"
            raise unsupported(param, f"The model '{self.card.id}' cannot be constrained.")
        stops = asked.stopping
        compiled = partial(self.grammars.compile, stops=stops.token_ids, ignores_ends=stops.ignore_eos)
        dialect = self.dialect if isinstance(asked.prompt, ChatPrompt) else None
        # Who wants more tokens than the text has is not to be given fewer.
        whole = self.engine.info.ends_in_time and not (stops.ignore_eos or stops.min_tokens)
        within = fit_max_tokens(asked, len(prompt.ids), self.card.context_length) if whole else None
        work = partial(enforced, dialect, chat, prompt.text, asked.grammar, compiled, within=within)
        param = "chat.tools" if asked.grammar is None else asked.grammar.param
        return await self._compiling.run(param, work, tenant=tenant)

    def render(self, chat: pb.ChatInput) -> str:
        return self.prompts.render(chat)

    @property
    def health(self) -> Health:
        return self.engine.health

    @property
    def ranker(self) -> CosineRanker | None:
        return None if self.embedder is None else CosineRanker(self.embedder)

    def status(self) -> worker_pb2.ModelStatus:
        info, load = self.engine.info, self.engine.load()
        return worker_pb2.ModelStatus(
            model=self.card,
            load=registry_pb2.Load(
                running=load.running,
                waiting=load.waiting,
                free_kv_tokens=load.free_kv_tokens,
                total_kv_tokens=info.kv_tokens,
            ),
            slots_in_use=load.running,
            slots=info.slots,
            weights_bytes=info.weights_bytes + load.adapter_bytes,
            kv_bytes=info.kv_bytes,
        )

    @property
    def generated_tokens(self) -> int:
        return self.engine.load().generated_tokens

    @property
    def longest_step_s(self) -> float:
        return self.engine.load().longest_step_s

    @property
    def steps(self) -> int:
        return self.engine.load().steps

    @property
    def slots(self) -> int:
        return self.engine.info.slots

    async def attend(self, changed: Callable[[], object]) -> None:
        """What is in this process does not go away. Who asks for the first grammar is not to wait for what
        any needs."""
        if self.grammars is not None:
            self.grammars.prepare()

    def load_adapter(self, folder: Path) -> Adapter:
        return self.engine.load_adapter(folder)

    def variant(self, card: pb.Model, adapter: Adapter | None = None) -> "Generator":
        other = copy(self)
        other.card, other.prompts = card, self.prompts.of(card)
        other._owner = False
        if adapter is not None:
            other.adapter, other.embedder = adapter, None
        return other

    def close(self) -> None:
        """An adapter's memory goes with its last request."""
        if self._owner:
            self.engine.close()
            self._compiling.close()
            if self.grammars is not None:
                self.grammars.close()
