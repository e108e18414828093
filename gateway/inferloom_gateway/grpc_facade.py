"""The gRPC façade: the inference contract, unchanged, in front of all workers."""

from collections.abc import AsyncIterator
from typing import Any

import grpc

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.inference_pb2_grpc import InferenceServiceServicer
from inferloom_gateway.gateway import Gateway
from inferloom_mesh.request_id import new_request_id

SERVICE = "inferloom.v1.InferenceService"

Context = grpc.aio.ServicerContext[Any, Any]


class InferenceFacade(InferenceServiceServicer):
    """Routes each call to a worker. Errors leave as the worker raised them."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._dispatch = gateway.dispatcher

    async def Generate(
        self, request: pb.GenerateRequest, context: Context
    ) -> AsyncIterator[pb.GenerateResponse]:
        """Pass a worker's events on as they are. A cancelled call cancels the worker's."""
        _name(request)
        with await self._dispatch.generate(request, self._deadline(context)) as stream:
            # A handler that is cancelled while an event is being sent is never resumed.
            context.add_done_callback(lambda _: stream.close())  # type: ignore[arg-type] # the stub wants a class
            while (event := await stream.read()) is not None:
                yield event

    async def Embed(self, request: pb.EmbedRequest, context: Context) -> AsyncIterator[pb.EmbedResponse]:
        """Pass a worker's events on, as in Generate."""
        _name(request)
        with await self._dispatch.embed(request, self._deadline(context)) as stream:
            context.add_done_callback(lambda _: stream.close())  # type: ignore[arg-type] # as above
            while (event := await stream.read()) is not None:
                yield event

    async def Rerank(self, request: pb.RerankRequest, context: Context) -> pb.RerankResponse:
        """Rerank on one worker."""
        _name(request)
        return await self._dispatch.rerank(request, self._deadline(context))

    async def Tokenize(self, request: pb.TokenizeRequest, context: Context) -> pb.TokenizeResponse:
        """Tokenise on one worker."""
        return await self._dispatch.tokenize(request, self._deadline(context))

    async def Detokenize(self, request: pb.DetokenizeRequest, context: Context) -> pb.DetokenizeResponse:
        """Detokenise on one worker."""
        return await self._dispatch.detokenize(request, self._deadline(context))

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """List the models of all workers."""
        return pb.ListModelsResponse(models=self._gateway.fleet.models())

    def _deadline(self, context: Context) -> float:
        return self._gateway.deadline(context.time_remaining())


def _name(request: pb.GenerateRequest | pb.EmbedRequest | pb.RerankRequest) -> None:
    if not request.request_id:
        request.request_id = new_request_id()
