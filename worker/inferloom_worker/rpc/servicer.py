"""The inference contract's gRPC door. It only translates; :mod:`~inferloom_worker.rpc.inference` decides."""

from collections.abc import AsyncIterator

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.inference_pb2_grpc import InferenceServiceServicer
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.rpc.incoming import Context, from_grpc
from inferloom_worker.rpc.inference import Inference

SERVICE = "inferloom.v1.InferenceService"


class InferenceServicer(InferenceServiceServicer):
    """Serves ``inferloom.v1.InferenceService``. Errors become statuses in the server's interceptor."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    def Generate(self, request: pb.GenerateRequest, context: Context) -> AsyncIterator[pb.GenerateResponse]:
        return self._inference.generate(request, from_grpc(context, request.request_id))

    def ContinueGenerate(
        self, request: pb.ContinueGenerateRequest, context: Context
    ) -> AsyncIterator[pb.GenerateResponse]:
        raise InferloomError(Reason.UNIMPLEMENTED, "A worker keeps no streams: ask a gateway.")

    def Embed(self, request: pb.EmbedRequest, context: Context) -> AsyncIterator[pb.EmbedResponse]:
        return self._inference.embed(request, from_grpc(context, request.request_id))

    async def Rerank(self, request: pb.RerankRequest, context: Context) -> pb.RerankResponse:
        return await self._inference.rerank(request, from_grpc(context, request.request_id))

    async def Tokenize(self, request: pb.TokenizeRequest, context: Context) -> pb.TokenizeResponse:
        return await self._inference.tokenize(request, from_grpc(context))

    async def Detokenize(self, request: pb.DetokenizeRequest, context: Context) -> pb.DetokenizeResponse:
        return await self._inference.detokenize(request, from_grpc(context))

    async def GetTokenizer(
        self, request: pb.GetTokenizerRequest, context: Context
    ) -> pb.GetTokenizerResponse:
        return await self._inference.get_tokenizer(request, from_grpc(context))

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        return await self._inference.list_models(request, from_grpc(context))
