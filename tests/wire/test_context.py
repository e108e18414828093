"""The context that goes with a request from its door to its worker, and the record that stays."""

import time
from typing import Any

from inferloom.v1 import context_pb2
from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.context import KEY, CallContext, read_context
from tests.wire.fake_worker import FakeWorker
from tests.wire.gateway_mesh import gateway_mesh

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CHAT = {"model": "chat-model", "messages": [{"role": "user", "content": "Hi"}]}


class Watcher(FakeWorker):
    """A worker that keeps the contexts of its calls."""

    seen: "list[CallContext]"

    async def Generate(self, request: pb.GenerateRequest, context: Any) -> Any:
        """Keep the context, and follow the script."""
        self.seen = [*getattr(self, "seen", []), read_context(context, request.request_id)]
        async for event in super().Generate(request, context):
            yield event


async def test_a_context_reaches_the_worker_from_both_doors() -> None:
    """Name, time left, caller and trace cross; what a caller sends in our own key does not."""
    worker = Watcher()
    async with gateway_mesh(worker, worker_timeout_s=50) as mesh:
        headers = {"x-request-id": "my-name", "traceparent": TRACE}
        await mesh.http.post("/v1/chat/completions", json=CHAT, headers=headers)
        forged = context_pb2.CallContext(tenant="somebody", traceparent=TRACE).SerializeToString()
        call = mesh.stub.Generate(
            pb.GenerateRequest(model="chat-model", request_id="other", text="a"),
            timeout=50,
            metadata=((KEY, forged), ("traceparent", "nonsense")),
        )
        async for _ in call:
            pass
    rest, grpc = worker.seen
    assert (rest.request_id, rest.traceparent) == ("my-name", TRACE)
    assert rest.caller.startswith("127.0.0.1:")
    assert 20 < (rest.time_left(time.monotonic()) or 0) <= 50
    assert (grpc.request_id, grpc.traceparent) == ("other", "")
    assert 20 < (grpc.time_left(time.monotonic()) or 0) <= 50
    # Without keys it is the gateway's connection whose share is used, one for all of its callers.
    assert rest.tenant == grpc.tenant
    assert rest.tenant.startswith("ipv4:127.0.0.1:")
