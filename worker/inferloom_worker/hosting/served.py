"""A loaded model with everything that a call on it needs."""

from dataclasses import dataclass
from typing import Protocol

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2, worker_pb2
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.embed.embedder import Embedder
from inferloom_worker.embed.protocol import TextEmbedder
from inferloom_worker.engine.health import Health
from inferloom_worker.engine.protocol import Adapter, Engine
from inferloom_worker.text.job import Trial
from inferloom_worker.text.messages import template_messages, template_tools, template_variables
from inferloom_worker.text.template import ChatTemplate
from inferloom_worker.text.tokenizer import Tokenizer
from inferloom_worker.validate.generate import ChatPrompt, Prompt, TextPrompt, too_long


@dataclass(frozen=True, slots=True)
class TokenizedPrompt:
    """A prompt's tokens, and its text where it had one."""

    ids: list[int]
    text: str | None


class ServedModel(Protocol):
    """What all loaded models have."""

    card: pb.Model
    tokenizer: Tokenizer

    @property
    def health(self) -> Health:
        """Whether what computes it still can."""
        ...

    @property
    def embedder(self) -> TextEmbedder | None:
        """What computes its vectors. None: it gives none."""
        ...

    def status(self) -> worker_pb2.ModelStatus:
        """How busy it is. Cheap."""
        ...

    @property
    def generated_tokens(self) -> int:
        """Tokens generated since it was loaded."""
        ...

    @property
    def slots(self) -> int:
        """Requests that it runs at once."""
        ...

    def close(self) -> None:
        """End its requests and free its memory. Blocking, for a step."""
        ...


class Generator:
    """A model that generates. Where its engine shows its states, it gives vectors too."""

    adapter: Adapter | None = None
    """What its requests ask the engine for."""

    def __init__(
        self,
        card: pb.Model,
        tokenizer: Tokenizer,
        template: ChatTemplate | None,
        engine: Engine,
        embedder: TextEmbedder | None = None,
    ) -> None:
        self.card = card
        self.tokenizer = tokenizer
        self.template = template
        self.engine = engine
        self.embedder = embedder
        self.trial = Trial()
        """How its template has done with short conversations."""

    def tokenize(self, prompt: Prompt) -> TokenizedPrompt:
        """Render and tokenise. Blocking.

        Raises:
            InferloomError: The template refuses the messages, there is none, or the text is too long.
        """
        if isinstance(prompt, TextPrompt):
            return TokenizedPrompt(self._encode("text", prompt.text, special=True), prompt.text)
        if isinstance(prompt, ChatPrompt):
            text = self.render(prompt.chat)
            return TokenizedPrompt(self._encode("chat.messages", text, special=False), text)
        return TokenizedPrompt(prompt.ids, None)

    def render(self, chat: pb.ChatInput) -> str:
        """The prompt of a validated conversation. Blocking.

        Raises:
            InferloomError: The template refuses the messages, or there is none.
        """
        if self.template is None:
            raise InferloomError(
                Reason.UNSUPPORTED_TASK,
                f"The model '{self.card.id}' has no chat template; send text or token ids.",
                param="chat",
            )
        options = chat.template
        return self.template.render(
            template_messages(chat, knows_developer=self.template.knows_developer),
            tools=template_tools(chat),
            variables=template_variables(chat),
            add_generation_prompt=(
                options.add_generation_prompt
                if options.HasField("add_generation_prompt")
                else not options.continue_final_message
            ),
            continue_final_message=options.continue_final_message,
        )

    @property
    def health(self) -> Health:
        """See :attr:`ServedModel.health`."""
        return self.engine.health

    def _encode(self, param: str, text: str, *, special: bool) -> list[int]:
        limit = self.card.context_length
        if (fewest := self.tokenizer.fewest_tokens(text)) > limit:
            raise too_long(param, fewest, limit, at_least=True)
        return self.tokenizer.encode(text, add_special_tokens=special)

    def status(self) -> worker_pb2.ModelStatus:
        """See :meth:`ServedModel.status`."""
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
        """See :attr:`ServedModel.generated_tokens`."""
        return self.engine.load().generated_tokens

    @property
    def slots(self) -> int:
        """See :attr:`ServedModel.slots`."""
        return self.engine.info.slots

    def close(self) -> None:
        """See :meth:`ServedModel.close`."""
        self.engine.close()


class AdaptedGenerator(Generator):
    """A generator's engine, computing with an adapter."""

    def __init__(self, card: pb.Model, base: Generator, adapter: Adapter) -> None:
        super().__init__(card, base.tokenizer, base.template, base.engine)
        self.base = base
        self.adapter = adapter

    def close(self) -> None:
        """Does nothing: the engine is the base's, and the adapter's memory goes with its last request."""


class Encoder:
    """A model that gives vectors."""

    generated_tokens = 0

    def __init__(self, card: pb.Model, embedder: Embedder) -> None:
        self.card = card
        self.tokenizer = embedder.reader.tokenizer
        self.embedder = embedder
        self.health = embedder.health

    def status(self) -> worker_pb2.ModelStatus:
        """See :meth:`ServedModel.status`."""
        running, waiting = self.embedder.running, self.embedder.waiting
        return worker_pb2.ModelStatus(
            model=self.card,
            load=registry_pb2.Load(running=running, waiting=waiting),
            slots_in_use=running,
            slots=self.slots,
            weights_bytes=self.embedder.info.weights_bytes,
        )

    @property
    def slots(self) -> int:
        """See :attr:`ServedModel.slots`."""
        return self.embedder.info.batch_size

    def close(self) -> None:
        """See :meth:`ServedModel.close`."""
        self.embedder.close()
