"""The gRPC façade: the inference contract, unchanged, in front of all workers."""

from collections.abc import AsyncIterator
from typing import Any

import grpc

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.inference_pb2_grpc import InferenceServiceServicer
from inferloom_gateway.calls.call_group import CallGroup
from inferloom_gateway.gateway import Gateway
from inferloom_mesh.call_end import when_ended
from inferloom_mesh.call_observer import CURRENT
from inferloom_mesh.context import CallContext, valid_traceparent
from inferloom_mesh.request_id import new_request_id

SERVICE = "inferloom.v1.InferenceService"

Context = grpc.aio.ServicerContext[Any, Any]


class InferenceFacade(InferenceServiceServicer):
    """Routes each call to a worker. Errors leave as the worker raised them."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def Generate(
        self, request: pb.GenerateRequest, context: Context
    ) -> AsyncIterator[pb.GenerateResponse]:
        """Pass a worker's events on as they are. A cancelled call cancels the worker's."""
        _name(request)
        with self._calls("generate", request.model, context, request.request_id) as calls:
            when_ended(context, calls.close)
            stream = await calls.generate(request)
            while (event := await stream.read()) is not None:
                yield event

    async def Embed(self, request: pb.EmbedRequest, context: Context) -> AsyncIterator[pb.EmbedResponse]:
        """Pass a worker's events on, as in Generate."""
        _name(request)
        with self._calls("embed", request.model, context, request.request_id) as calls:
            when_ended(context, calls.close)
            stream = await calls.embed(request)
            while (event := await stream.read()) is not None:
                yield event

    async def Rerank(self, request: pb.RerankRequest, context: Context) -> pb.RerankResponse:
        """Rerank on one worker."""
        _name(request)
        with self._calls("rerank", request.model, context, request.request_id) as calls:
            return await calls.rerank(request)

    async def Tokenize(self, request: pb.TokenizeRequest, context: Context) -> pb.TokenizeResponse:
        """Tokenise on one worker."""
        with self._calls("tokenize", request.model, context) as calls:
            return await calls.tokenize(request)

    async def Detokenize(self, request: pb.DetokenizeRequest, context: Context) -> pb.DetokenizeResponse:
        """Detokenise on one worker."""
        with self._calls("detokenize", request.model, context) as calls:
            return await calls.detokenize(request)

    async def GetTokenizer(
        self, request: pb.GetTokenizerRequest, context: Context
    ) -> pb.GetTokenizerResponse:
        """Have one worker describe its tokenizer."""
        with self._calls("tokenizer", request.model, context) as calls:
            return await calls.get_tokenizer(request)

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """List the models of all workers."""
        return pb.ListModelsResponse(models=self._gateway.fleet.models())

    def _calls(self, method: str, model: str, call: Context, request_id: str = "") -> CallGroup:
        """Begin to answer a call. A context that it brings is not looked at: callers are not trusted."""
        metadata = dict(call.invocation_metadata() or ())
        trace = metadata.get("traceparent")
        context = CallContext(
            request_id or new_request_id(),
            self._gateway.deadline(call.time_remaining()),
            caller=call.peer() or "",
            traceparent=valid_traceparent(trace if isinstance(trace, str) else None),
        )
        calls = self._gateway.dispatcher.group(context, method, model)
        if (seen := CURRENT.get()) is not None:
            seen.note = calls.record
        return calls


def _name(request: pb.GenerateRequest | pb.EmbedRequest | pb.RerankRequest) -> None:
    if not request.request_id:
        request.request_id = new_request_id()
