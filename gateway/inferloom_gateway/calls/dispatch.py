"""Sends requests to workers: picks one, and tries another where that can help."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import grpc

from inferloom.v1 import inference_pb2
from inferloom_gateway.calls.attempt import judge
from inferloom_gateway.calls.in_flight import Ledger
from inferloom_gateway.calls.retry_budget import RetryBudget
from inferloom_gateway.calls.stream import Event, Stream
from inferloom_gateway.fleet import router
from inferloom_gateway.fleet.connections import Connections
from inferloom_gateway.fleet.members import Fleet, Member
from inferloom_gateway.fleet.suggestion import model_not_found
from inferloom_mesh.errors import InferloomError, Reason

if TYPE_CHECKING:
    from inferloom.v1.inference_pb2_grpc import InferenceServiceAsyncStub

T = TypeVar("T")
Req = TypeVar(
    "Req",
    inference_pb2.RerankRequest,
    inference_pb2.TokenizeRequest,
    inference_pb2.DetokenizeRequest,
)
Res = TypeVar("Res")

_TASK = {
    "chat": inference_pb2.TASK_CHAT,
    "text": inference_pb2.TASK_COMPLETION,
    "token_ids": inference_pb2.TASK_COMPLETION,
}
_TASK_NAME = {
    inference_pb2.TASK_CHAT: "chat",
    inference_pb2.TASK_COMPLETION: "completions",
    inference_pb2.TASK_EMBED: "embeddings",
    inference_pb2.TASK_RERANK: "reranking",
}


class Dispatcher:
    """The way from a request to a worker.

    Deadlines are moments of ``clock``. Until a worker has accepted a request, a worker that is lost or has no
    room is replaced by another, within the deadline and the retry budget.
    """

    def __init__(
        self, fleet: Fleet, connections: Connections, ledger: Ledger, clock: Callable[[], float]
    ) -> None:
        self.clock = clock
        self._fleet = fleet
        self._connections = connections
        self._ledger = ledger
        self._budget = RetryBudget()

    async def generate(
        self, request: inference_pb2.GenerateRequest, deadline: float
    ) -> Stream[inference_pb2.GenerateResponse]:
        """Start a generation; return its stream, which the caller closes, once a worker has accepted it.

        Raises:
            InferloomError: No worker accepted it; the reason says why.
        """

        async def start(member: Member, timeout: float) -> Stream[inference_pb2.GenerateResponse]:
            call = self._connections.stub(member).Generate(request, timeout=timeout)
            return await accepted(Stream(call, member, self._ledger))

        task = _TASK.get(request.WhichOneof("input") or "")
        return await self._attempt(
            request.model, task, deadline, start, key=lambda: router.prompt_key(request)
        )

    async def embed(
        self, request: inference_pb2.EmbedRequest, deadline: float
    ) -> Stream[inference_pb2.EmbedResponse]:
        """Start an embedding; as :meth:`generate`."""

        async def start(member: Member, timeout: float) -> Stream[inference_pb2.EmbedResponse]:
            call = self._connections.stub(member).Embed(request, timeout=timeout)
            return await accepted(Stream(call, member, self._ledger))

        return await self._attempt(request.model, inference_pb2.TASK_EMBED, deadline, start)

    async def rerank(
        self, request: inference_pb2.RerankRequest, deadline: float
    ) -> inference_pb2.RerankResponse:
        """Rerank on one worker. Raises InferloomError."""
        return await self._unary(request, inference_pb2.TASK_RERANK, deadline, lambda stub: stub.Rerank)

    async def tokenize(
        self, request: inference_pb2.TokenizeRequest, deadline: float
    ) -> inference_pb2.TokenizeResponse:
        """Tokenise on one worker. Raises InferloomError."""
        return await self._unary(request, None, deadline, lambda stub: stub.Tokenize)

    async def detokenize(
        self, request: inference_pb2.DetokenizeRequest, deadline: float
    ) -> inference_pb2.DetokenizeResponse:
        """Detokenise on one worker. Raises InferloomError."""
        return await self._unary(request, None, deadline, lambda stub: stub.Detokenize)

    async def _unary(
        self,
        request: Req,
        task: "inference_pb2.Task.ValueType | None",
        deadline: float,
        method: "Callable[[InferenceServiceAsyncStub], grpc.aio.UnaryUnaryMultiCallable[Req, Res]]",
    ) -> Res:
        async def call(member: Member, timeout: float) -> Res:
            try:
                return await method(self._connections.stub(member))(request, timeout=timeout)
            finally:
                self._ledger.leave(member)

        return await self._attempt(request.model, task, deadline, call)

    async def _attempt(
        self,
        model: str,
        task: "inference_pb2.Task.ValueType | None",
        deadline: float,
        call: Callable[[Member, float], Awaitable[T]],
        key: Callable[[], int] | None = None,
    ) -> T:
        """Make ``call`` (worker, seconds left) on one worker after another until one answers for good."""
        tried: list[Member] = []
        self._budget.request(self.clock())
        failed: InferloomError | None = None
        while choices := self._candidates(model, task, tried):
            left = deadline - self.clock()
            if left <= 0:
                raise InferloomError(Reason.TIMEOUT, "The request's time was over before a worker took it.")
            member = router.choose(choices, key)
            self._ledger.enter(member)
            try:
                answer = await call(member, left)
            except grpc.aio.AioRpcError as failure:
                verdict = judge(failure)
                self._ledger.bad(member, verdict)
                failed = verdict.error
                if not verdict.elsewhere:
                    raise failed from failure
            else:
                self._ledger.good(member)
                return answer
            tried.append(member)
            if not self._budget.take(self.clock()):
                break
        if failed is None or failed.reason is Reason.WORKER_LOST:
            raise no_worker(model)
        raise failed

    def _candidates(
        self, model: str, task: "inference_pb2.Task.ValueType | None", tried: list[Member]
    ) -> list[Member]:
        now = self.clock()
        members = self._fleet.holding(model)
        found = router.candidates(members, model, task, now, tried)
        if found or tried:
            return found
        if not self._fleet.knows(model, now):
            raise model_not_found(model, (each.id for each in self._fleet.models()))
        if task is not None and members and not any(task in m.models[model].tasks for m in members):
            message = f"The model '{model}' does not serve {_TASK_NAME[task]}."
            raise InferloomError(Reason.UNSUPPORTED_TASK, message, param="model")
        return found


async def accepted(stream: Stream[Event]) -> Stream[Event]:
    """Wait until a worker has accepted the call; close it if none does."""
    try:
        await stream.accepted()
    except BaseException:
        stream.close()
        raise
    return stream


def no_worker(model: str) -> InferloomError:
    """The error for a known model that no worker can take a request for."""
    message = f"No worker can take requests for the model '{model}' now."
    return InferloomError(Reason.NO_WORKER, message, retry_after=1.0)
