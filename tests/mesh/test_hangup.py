"""A terminal that closes is a stop like any other."""

import signal
from collections.abc import Callable

import grpc

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1.inference_pb2_grpc import InferenceServiceStub
from tests.mesh.processes import Running


def test_a_closed_terminal_drains_a_worker(start: Callable[..., Running]) -> None:
    """SIGHUP, and a second one, let a running generation finish before the worker ends."""
    worker = start("worker", "--listen", "127.0.0.1:0", "--model", "m=echo:delay_ms=20", "--registry", "none")
    with grpc.insecure_channel(str(worker.report()["address"])) as channel:
        request = pb.GenerateRequest(model="m", text="a b c")
        request.stopping.max_tokens = 100
        events = InferenceServiceStub(channel).Generate(request)
        assert next(events).HasField("started")
        worker.signal(signal.SIGHUP)
        worker.signal(signal.SIGHUP)
        assert list(events)[-1].HasField("completed")
    worker.wait()
    assert "SIGHUP: stopping" in worker.output
