"""A loaded model with everything that a call on it needs."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import worker_pb2
from inferloom_worker.embed.protocol import TextEmbedder
from inferloom_worker.embed.ranker import Ranker
from inferloom_worker.engine.adapter import Adapter
from inferloom_worker.engine.health import Health
from inferloom_worker.hosting.answer import Answer, Terms
from inferloom_worker.text.pool import TextPool
from inferloom_worker.text.tokenizer import Tokenizer
from inferloom_worker.validate.generate import CompletionRequest


class RemoteTexts(Protocol):
    """Makes tokens of texts elsewhere. Requests are valid as far as their counts go.

    Raises:
        InferloomError: UNSUPPORTED_TASK: it cannot; what the other side refuses; WORKER_LOST.
    """

    async def tokenize(self, request: pb.TokenizeRequest) -> pb.TokenizeResponse:
        """The tokens of a text or a conversation."""
        ...

    async def detokenize(self, request: pb.DetokenizeRequest) -> pb.DetokenizeResponse:
        """The text of tokens."""
        ...

    def describe(self) -> pb.GetTokenizerResponse:
        """The tokenizer."""
        ...


class ServedModel(Protocol):
    """What all loaded models have. What one can do its card says: the rest it refuses with
    UNSUPPORTED_TASK."""

    card: pb.Model

    @property
    def tokenizer(self) -> Tokenizer | None:
        """Makes tokens of its texts. None: ``remote_texts`` does."""
        ...

    @property
    def remote_texts(self) -> RemoteTexts | None:
        """Who makes tokens of texts where this worker cannot. None: its tokenizer."""
        ...

    @property
    def away(self) -> str | None:
        """Why it cannot be called for the time being, although it is loaded. None: it can."""
        ...

    async def attend(self, changed: Callable[[], object]) -> None:
        """It is served from now on: ``changed`` is to be called, on this event loop, whenever it goes away or
        comes back.

        Raises:
            SourceError: What is to compute it elsewhere cannot.
        """
        ...

    @property
    def health(self) -> Health:
        """Whether what computes it still can."""
        ...

    @property
    def embedder(self) -> TextEmbedder | None:
        """What computes its vectors. None: it gives none."""
        ...

    @property
    def ranker(self) -> Ranker | None:
        """What scores documents. None: it scores none."""
        ...

    async def answer(self, asked: CompletionRequest, terms: Terms, texts: TextPool) -> Answer:
        """Take a request, which may be tokenised in ``texts``' threads.

        Raises:
            InferloomError: It cannot be taken: CONTEXT_LENGTH_EXCEEDED, SERVER_OVERLOADED and the like.
        """
        ...

    def render(self, chat: pb.ChatInput) -> str:
        """The prompt of a validated conversation. Blocking.

        Raises:
            InferloomError: The template refuses the messages, or there is none.
        """
        ...

    def load_adapter(self, folder: Path) -> Adapter:
        """Read an adapter for it. Blocking. Raises AdapterError where it does not fit."""
        ...

    def variant(self, card: pb.Model, adapter: Adapter | None = None) -> "ServedModel":
        """The same model under another card: with an adapter, or under another name. Closing it does
        nothing."""
        ...

    def status(self) -> worker_pb2.ModelStatus:
        """How busy it is. Cheap."""
        ...

    @property
    def generated_tokens(self) -> int:
        """Tokens generated since it was loaded."""
        ...

    @property
    def longest_step_s(self) -> float:
        """The longest step of its engine in the last minute or two, in seconds; 0: none was measured."""
        ...

    @property
    def steps(self) -> int:
        """Steps of its engine, or batches, since it was loaded."""
        ...

    @property
    def slots(self) -> int:
        """Requests that it runs at once."""
        ...

    def close(self) -> None:
        """End its requests and free its memory. Blocking, for a step."""
        ...
