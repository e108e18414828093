"""A model that a server computes."""

from collections.abc import Callable
from copy import copy
from functools import partial
from pathlib import Path

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2, worker_pb2
from inferloom_mesh.errors import InferloomError, Reason, unsupported
from inferloom_worker.engine.adapter import Adapter
from inferloom_worker.engine.health import Health
from inferloom_worker.engine.queue_bound import QueueBound
from inferloom_worker.engines.sidecar.client import Client
from inferloom_worker.engines.sidecar.facts import UNKNOWN, UnfitError
from inferloom_worker.engines.sidecar.request import seed_of, server_request
from inferloom_worker.hosting.answer import Terms
from inferloom_worker.hosting.refusals import unsupported_task
from inferloom_worker.hosting.sidecar.answer import Asked, ServerAnswer
from inferloom_worker.hosting.sidecar.card import card as card_of
from inferloom_worker.hosting.sidecar.chunks import Chunks
from inferloom_worker.hosting.sidecar.ranking import ServerRanker, VectorRanker
from inferloom_worker.hosting.sidecar.shared import Shared
from inferloom_worker.hosting.sidecar.texts import ServerTexts
from inferloom_worker.hosting.sidecar.vectors import ServerEmbedder
from inferloom_worker.lora.config import AdapterError
from inferloom_worker.sourcing.sources import SourceError
from inferloom_worker.text.pool import TextPool
from inferloom_worker.validate.generate import (
    DRAWN,
    ChatPrompt,
    CompletionRequest,
    TextPrompt,
    TokenPrompt,
    too_long,
)

QUICK_BYTES = 16 * 1024
"""A conversation that is put in JSON on the event loop."""


class SidecarModel:
    """A served model whose answers come from a server.

    Args:
        name: What it is served as.
        client: Speaks to the server; not used yet. Until :meth:`attend` the model is away.
        bound: Decides who may wait for it.
        most: Requests that it is sent at once, where neither its address nor itself tells a number.
        context_length: Most tokens of one sequence as the settings say. None: as the server says.
    """

    tokenizer = None
    longest_step_s = 0.0

    def __init__(
        self,
        name: str,
        client: Client,
        bound: QueueBound,
        most: int,
        context_length: int | None = None,
    ) -> None:
        self.card = card_of(name, UNKNOWN, context_length)
        self.card.created.GetCurrentTime()
        self.health = Health()
        self._shared = Shared(self, client, bound, most, context_length)

    @property
    def embedder(self) -> ServerEmbedder | None:
        return self._shared.embedder

    @property
    def ranker(self) -> ServerRanker | VectorRanker | None:
        return self._shared.ranker

    @property
    def remote_texts(self) -> ServerTexts:
        shared = self._shared
        return ServerTexts(shared.client, shared.facts, self.card, shared.judged)

    @property
    def away(self) -> str | None:
        return self._shared.away

    async def attend(self, changed: Callable[[], object]) -> None:
        try:
            await self._shared.attend(changed)
        except UnfitError as misfit:
            root = self._shared.client.address.root
            raise SourceError(f"the server at {root} cannot be served: {misfit}") from misfit

    async def answer(self, asked: CompletionRequest, terms: Terms, texts: TextPool) -> ServerAnswer:
        shared, prompt = self._shared, asked.prompt
        self._check(asked)
        salt = f"{terms.cache_scope}\0{asked.cache_salt}" if terms.cache_scope else asked.cache_salt
        facts = shared.facts
        quick = not isinstance(prompt, ChatPrompt) or prompt.chat.ByteSize() <= QUICK_BYTES
        work = partial(server_request, asked, facts, salt)
        request = await texts.run(prompt.param, work, tenant=terms.tenant, quick=quick)
        started = pb.Started(
            request_id=asked.request_id,
            model=self.card.id,
            prompt_tokens=len(prompt.ids) if isinstance(prompt, TokenPrompt) else 0,
            seed=seed_of(asked.sampling.seed, facts) if "seed" in asked.said else 0,
            compute_hash=self.card.compute_hash,
            sampling=self._drawn_with(asked),
            notes=request.notes,
            priority=asked.priority,
        )
        echo = [
            pb.GenerateResponse(delta=pb.Delta(choice=choice, text=prompt.text))
            for choice in range(asked.n * asked.echo)
            if isinstance(prompt, TextPrompt)
        ]
        place = shared.places.join(asked.n, terms.tenant, asked.priority, terms.deadline)
        answer = ServerAnswer(
            shared.client,
            Asked(request=request, started=started, echo=echo, deadline=terms.deadline),
            Chunks(
                asked.n,
                top=asked.top_logprobs,
                tell_prompt=asked.prompt_token_ids,
                stop_token_ids=asked.stopping.token_ids,
                stop_strings=asked.stopping.strings,
            ),
            place,
            shared.judged,
            shared.ended,
        )
        shared.answers.add(answer)
        return answer

    def _check(self, asked: CompletionRequest) -> None:
        """Refuse what its card does not list and the loop over parameters cannot know."""
        chat = isinstance(asked.prompt, ChatPrompt)
        task = pb.TASK_CHAT if chat else pb.TASK_COMPLETION
        if task not in self.card.tasks:
            raise unsupported_task(self.card.id, "read conversations" if chat else "complete texts")
        if asked.echo and not isinstance(asked.prompt, TextPrompt):
            raise unsupported("output.echo", "The model's server tells no text that could be repeated.")
        if asked.n > self.slots:
            raise InferloomError(
                Reason.INVALID_ARGUMENT,
                f"sampling.n can be at most {self.slots} for the model '{self.card.id}', not {asked.n}.",
                param="sampling.n",
            )
        limit, wanted = self.card.context_length, asked.stopping.max_tokens or 0
        if limit and wanted > limit:
            raise too_long(asked.prompt.param, wanted, limit, at_least=True)

    def _drawn_with(self, asked: CompletionRequest) -> pb.SamplingOptions:
        """What is known of how tokens are drawn."""
        drawn = pb.SamplingOptions()
        drawn.CopyFrom(self.card.sampling_defaults)
        for name in DRAWN:
            if name in asked.said and name in self.card.supported_parameters:
                setattr(drawn, name, getattr(asked.sampling, name))
        return drawn

    def render(self, chat: pb.ChatInput) -> str:
        raise unsupported_task(self.card.id, "show its prompts")

    def load_adapter(self, folder: Path) -> Adapter:
        raise AdapterError("its server computes it; give the adapter to the server")

    def variant(self, card: pb.Model, adapter: Adapter | None = None) -> "SidecarModel":
        other = copy(self)
        other.card = card
        self._shared.models.append(other)
        return other

    def status(self) -> worker_pb2.ModelStatus:
        shared, load = self._shared, self._shared.load
        # What the server says counts requests of others too; it may be a second old.
        running = max(load.running, shared.places.taken - load.waiting)
        return worker_pb2.ModelStatus(
            model=self.card,
            load=registry_pb2.Load(
                running=running,
                waiting=load.waiting + shared.places.waiting,
                free_kv_tokens=load.free_kv_tokens,
                total_kv_tokens=load.total_kv_tokens,
            ),
            slots_in_use=shared.places.taken,
            slots=self.slots,
        )

    @property
    def generated_tokens(self) -> int:
        shared = self._shared
        return shared.generated + sum(answer.tokens for answer in shared.answers)

    @property
    def steps(self) -> int:
        """A server tells of no steps: each second in which it is taken to live counts as one."""
        return self._shared.beats

    @property
    def slots(self) -> int:
        return self._shared.places.slots

    def close(self) -> None:
        if self._shared.owner is self:
            self._shared.close()
