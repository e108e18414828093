"""A worker and a registry that do as a test says: real gRPC servers, scripted answers."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import grpc

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2
from inferloom.v1.inference_pb2_grpc import InferenceServiceServicer, add_InferenceServiceServicer_to_server
from inferloom.v1.link_pb2_grpc import add_LinkServiceServicer_to_server
from inferloom.v1.registry_pb2_grpc import RegistryServiceServicer, add_RegistryServiceServicer_to_server
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_mesh.guard import Guard
from inferloom_mesh.net import Address
from inferloom_mesh.server import MAX_MESSAGE_BYTES, Server, build_server
from tests.patience import until_async
from tests.wire.fake_link import FakeLink

ANYWHERE = Address("127.0.0.1", 0)
"""A free port of this machine."""

Context = grpc.aio.ServicerContext[Any, Any]
Script = Callable[["FakeWorker", pb.GenerateRequest], AsyncIterator[pb.GenerateResponse]]
EmbedScript = Callable[["FakeWorker", pb.EmbedRequest], AsyncIterator[pb.EmbedResponse]]

CHAT = pb.Model(
    id="chat-model",
    owned_by="tests",
    tasks=[pb.TASK_CHAT, pb.TASK_COMPLETION],
    context_length=512,
    supported_parameters=["temperature", "top_p"],
    weights_hash="w" * 16,
    dtype="float32",
    root="tests/chat",
)
CHAT.created.seconds = 1_700_000_000
EMBEDDER = pb.Model(
    id="org/embedder",
    owned_by="tests",
    tasks=[pb.TASK_EMBED],
    context_length=128,
    embedding_dimensions=4,
)


def started(request: pb.GenerateRequest, worker: str = "w") -> pb.GenerateResponse:
    """The event that a request was accepted."""
    return pb.GenerateResponse(
        started=pb.Started(
            request_id=request.request_id,
            model=request.model,
            prompt_tokens=7,
            seed=1,
            worker_id=worker,
        )
    )


def delta(text: str, choice: int = 0, index: int = 0, **more: Any) -> pb.GenerateResponse:
    """The event that a choice has one more token."""
    return pb.GenerateResponse(
        delta=pb.Delta(choice=choice, token_index=index, token_ids=[index], text=text, **more)
    )


def finished(
    choice: int = 0, reason: pb.FinishReason.ValueType = pb.FINISH_REASON_STOP
) -> pb.GenerateResponse:
    """The event that a choice ended."""
    return pb.GenerateResponse(finished=pb.Finished(choice=choice, reason=reason, completion_tokens=3))


def completed(completion_tokens: int = 3, prompt_tokens: int = 7) -> pb.GenerateResponse:
    """The event that a request ended."""
    usage = pb.Usage(prompt_tokens=prompt_tokens, cached_prompt_tokens=2, completion_tokens=completion_tokens)
    return pb.GenerateResponse(completed=pb.Completed(usage=usage))


DEREGISTERED = registry_pb2.LEASE_LOSS_DEREGISTERED
WORDS = ("Hello", ", ", "wörld 🌍")


async def say_hello(worker: "FakeWorker", request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
    """Answer every choice with the same three tokens, the choices in turn."""
    n = request.sampling.n or 1
    yield started(request, worker.id)
    for index, word in enumerate(WORDS):
        for choice in range(n):
            yield delta(word, choice, index)
    for choice in range(n):
        yield finished(choice)
    yield completed(3 * n)


def paused(go_on: asyncio.Event) -> Script:
    """As :func:`say_hello`, but nothing behind Started comes before ``go_on``."""

    async def script(worker: "FakeWorker", request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        events = say_hello(worker, request)
        yield await anext(events)
        await go_on.wait()
        async for event in events:
            yield event

    return script


def refuse(error: InferloomError) -> Script:
    """A script that refuses every request."""

    async def script(worker: "FakeWorker", request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
        raise error
        yield

    return script


async def hang(worker: "FakeWorker", request: pb.GenerateRequest) -> AsyncIterator[pb.GenerateResponse]:
    """Accept, say one word, and then nothing, until the call is cancelled."""
    yield started(request, worker.id)
    yield delta("Once")
    await asyncio.Event().wait()


def embed(texts: Iterable[pb.EmbedInput]) -> list[pb.Embedding]:
    """Vectors that name their input: its length, then zeros."""
    vectors = []
    for item in texts:
        size = len(item.text) if item.HasField("text") else len(item.token_ids.ids)
        vectors.append(pb.Embedding(vector=_floats(float(size), 0.0, 0.0, 0.5), prompt_tokens=2))
    return vectors


async def by_length(worker: "FakeWorker", request: pb.EmbedRequest) -> AsyncIterator[pb.EmbedResponse]:
    """Vectors that tell the inputs' lengths, an input at a time."""
    yield pb.EmbedResponse(started=pb.EmbedStarted(model=request.model, worker_id=worker.id))
    for index, embedding in enumerate(embed(request.inputs)):
        yield pb.EmbedResponse(part=pb.EmbedPart(first_input=index, embeddings=[embedding]))
    usage = pb.Usage(prompt_tokens=2 * len(request.inputs))
    yield pb.EmbedResponse(completed=pb.EmbedCompleted(usage=usage))


def _floats(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


@dataclass(eq=False)
class FakeWorker(InferenceServiceServicer):
    """A worker whose generations follow a script, and which remembers what it was asked."""

    id: str = "worker-1"
    models: tuple[pb.Model, ...] = (CHAT, EMBEDDER)
    script: Script = say_hello
    embed_script: "EmbedScript | None" = None
    """Answers Embed. None: a vector that tells each input's length, an input at a time."""
    on_unary: Callable[[Any], Awaitable[None]] | None = None
    requests: list[Any] = field(default_factory=list)
    running: int = 0
    accepted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while a generation has been asked for."""
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once a generation was cancelled by its caller."""
    address: Address = ANYWHERE
    attaches: bool = True
    """Whether it has the multiplexed link."""
    largest_start: int = MAX_MESSAGE_BYTES
    """Bytes of a start that it takes there in pieces; 0: none."""
    guard: Guard | None = None
    """Asked who may call it."""
    attached: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a gateway attaches."""
    link: FakeLink | None = None
    """Its link, since it was started last."""
    server: Server | None = None
    stopping: "asyncio.Future[None] | None" = None

    async def runs(self, count: int) -> None:
        """Wait until it runs so many generations."""
        await until_async(lambda: self.running, f"{count} generations", lambda running: running == count)

    async def start(self) -> "FakeWorker":
        """Listen on a free port, or on the one it had before."""
        self.server = build_server(["inferloom.v1.InferenceService"], guard=self.guard)
        add_InferenceServiceServicer_to_server(self, self.server.grpc)
        if self.attaches:
            self.link = FakeLink(self)
            add_LinkServiceServicer_to_server(self.link, self.server.grpc)
        self.address = await self.server.listen(self.address)
        await self.server.set_serving(True)
        return self

    async def kill(self) -> None:
        """Go away without a word; running calls break, the one that this is called in, too."""
        if self.server is not None:
            self.stopping = asyncio.ensure_future(self.server.grpc.stop(None))
            self.server = None
        if self.stopping is not None:
            await asyncio.shield(self.stopping)

    def registered(
        self, epoch: int = 1, state: registry_pb2.WorkerState.ValueType = registry_pb2.WORKER_STATE_READY
    ) -> registry_pb2.RegisteredWorker:
        """How the registry tells about it."""
        worker = registry_pb2.Worker(
            id=self.id, address=str(self.address), models=self.models, state=state, capacity=8
        )
        return registry_pb2.RegisteredWorker(
            worker=worker, epoch=epoch, lease_state=registry_pb2.LEASE_STATE_ACTIVE
        )

    def ContinueGenerate(
        self, request: pb.ContinueGenerateRequest, context: Context
    ) -> AsyncIterator[pb.GenerateResponse]:
        """No worker does."""
        raise InferloomError(Reason.UNIMPLEMENTED, "A worker keeps no streams.")

    async def Generate(
        self, request: pb.GenerateRequest, context: Context
    ) -> AsyncIterator[pb.GenerateResponse]:
        """Follow the script."""
        self.requests.append(request)
        self.running += 1
        self.accepted.set()
        try:
            async for event in self.script(self, request):
                yield event
        except (asyncio.CancelledError, GeneratorExit):  # the latter where the cancel met a write
            self.cancelled.set()
            raise
        finally:
            self.running -= 1

    async def Embed(self, request: pb.EmbedRequest, context: Context) -> AsyncIterator[pb.EmbedResponse]:
        """Follow the script."""
        await self._unary(request)
        async for event in (self.embed_script or by_length)(self, request):
            yield event

    async def Rerank(self, request: pb.RerankRequest, context: Context) -> pb.RerankResponse:
        """Rank by position."""
        await self._unary(request)
        ranked = [pb.RankedDocument(index=i, score=1 / (i + 1)) for i in range(len(request.documents))]
        usage = pb.Usage(prompt_tokens=5 * len(request.documents))
        return pb.RerankResponse(
            model=request.model, results=ranked, usage=usage, request_id=request.request_id, worker_id=self.id
        )

    async def Tokenize(self, request: pb.TokenizeRequest, context: Context) -> pb.TokenizeResponse:
        """One token per character."""
        await self._unary(request)
        text = request.text or "".join(p.text for m in request.chat.messages for p in m.parts)
        return pb.TokenizeResponse(token_ids=[ord(c) for c in text], tokens=list(text), context_length=512)

    async def Detokenize(self, request: pb.DetokenizeRequest, context: Context) -> pb.DetokenizeResponse:
        """One character per token."""
        await self._unary(request)
        text = "".join(chr(token) if token < 0xD800 else "\ufffd" for token in request.token_ids)
        return pb.DetokenizeResponse(text=text)

    async def GetTokenizer(
        self, request: pb.GetTokenizerRequest, context: Context
    ) -> pb.GetTokenizerResponse:
        """A tokenizer with a few special tokens."""
        await self._unary(request)
        return pb.GetTokenizerResponse(
            model=request.model,
            tokenizer_class="PreTrainedTokenizerFast",
            hash="t" * 16,
            vocabulary_size=300,
            context_length=512,
            special_tokens={"eos_token": "<|end|>", "bos_token": "<|begin|>"},
            end_token_ids=[2],
            added_tokens=[pb.AddedToken(id=2, content="<|end|>", special=True)],
            chat_template="{{ messages }}",
            add_bos_token=False,
        )

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """List its models."""
        return pb.ListModelsResponse(models=self.models)

    async def _unary(self, request: Any) -> None:
        self.requests.append(request)
        if self.on_unary is not None:
            try:
                await self.on_unary(request)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise


class FakeRegistry(RegistryServiceServicer):
    """A registry that says what a test says."""

    def __init__(self) -> None:
        self.address = ANYWHERE
        self.registry_id = "registry-1"
        self.revision = 0
        self.settling = False
        self.workers: dict[str, registry_pb2.RegisteredWorker] = {}
        self.asked: list[registry_pb2.WatchRequest] = []
        self._watchers: set[asyncio.Queue[registry_pb2.WatchResponse]] = set()
        self._server: Server | None = None

    async def start(self) -> "FakeRegistry":
        """Listen on a free port, or on the one it had before."""
        self._server = build_server(["inferloom.v1.RegistryService"])
        add_RegistryServiceServicer_to_server(self, self._server.grpc)
        self.address = await self._server.listen(self.address)
        return self

    async def stop(self) -> None:
        """Go away."""
        if self._server is not None:
            await self._server.grpc.stop(None)
            self._server = None

    async def AnnounceGateway(
        self, request: registry_pb2.AnnounceGatewayRequest, context: Context
    ) -> registry_pb2.AnnounceGatewayResponse:
        """Know of nobody else."""
        return registry_pb2.AnnounceGatewayResponse(gateways=[request.gateway])

    async def ListGateways(
        self, request: registry_pb2.ListGatewaysRequest, context: Context
    ) -> registry_pb2.ListGatewaysResponse:
        """Know of nobody."""
        return registry_pb2.ListGatewaysResponse()

    def put(self, entry: registry_pb2.RegisteredWorker) -> None:
        """Tell that a worker came or changed."""
        self.workers[entry.worker.id] = entry
        self._tell(put=entry)

    def remove(self, worker_id: str, reason: registry_pb2.LeaseLoss.ValueType = DEREGISTERED) -> None:
        """Tell that a worker went."""
        entry = self.workers.pop(worker_id)
        self._tell(removed=registry_pb2.WorkerRemoved(worker_id=worker_id, epoch=entry.epoch, reason=reason))

    def _tell(self, **change: Any) -> None:
        self.revision += 1
        for watcher in self._watchers:
            watcher.put_nowait(self._response(**change))

    def _response(self, **change: Any) -> registry_pb2.WatchResponse:
        return registry_pb2.WatchResponse(revision=self.revision, registry_id=self.registry_id, **change)

    async def Watch(
        self, request: registry_pb2.WatchRequest, context: Context
    ) -> AsyncIterator[registry_pb2.WatchResponse]:
        """Send a snapshot, then every change."""
        self.asked.append(request)
        queue: asyncio.Queue[registry_pb2.WatchResponse] = asyncio.Queue()
        self._watchers.add(queue)
        try:
            snapshot = registry_pb2.Snapshot(workers=self.workers.values(), settling=self.settling)
            yield self._response(snapshot=snapshot)
            while True:
                yield await queue.get()
        finally:
            self._watchers.discard(queue)

    async def Register(self, request: Any, context: Context) -> Any:
        """Not part of any script: who calls it has a test that is wrong."""
        raise NotImplementedError

    Deregister = Join = Register

    async def ListWorkers(
        self, request: registry_pb2.ListWorkersRequest, context: Context
    ) -> registry_pb2.ListWorkersResponse:
        """The workers as a test put them."""
        return registry_pb2.ListWorkersResponse(
            workers=self.workers.values(), revision=self.revision, registry_id=self.registry_id
        )

    def KeepAlive(self, requests: Any, context: Context) -> Any:
        """Nor this."""
        raise NotImplementedError
