"""Workers of the mesh in virtual time that are killed, or drain, amid what they generate."""

import asyncio

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.calls.link import CallSink
from inferloom_mesh.context import CallContext
from inferloom_mesh.errors import InferloomError, Reason
from tests.gateway.answering import AnsweringCall
from tests.gateway.waiting_mesh import Refusing

DRAINS = InferloomError(Reason.NO_WORKER, "The worker is draining.", retry_after=1.0)
TOKENS = 300


class Generating(Refusing):
    """One that gives a token all the time, behind those that there are."""

    deadly = ""
    """The request that ends it; empty: any."""

    def dies_at(self, had: int) -> int | None:
        """The token at which a request ends it that has so many. None: it does not."""
        return None

    def generate(
        self, request: pb.GenerateRequest, context: CallContext, sink: CallSink[pb.GenerateResponse]
    ) -> AnsweringCall:
        """Take the request."""
        self.asked += 1
        loop, now = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        had = len(request.resume.choices[0].token_ids) if request.resume.choices else 0
        started = pb.GenerateResponse(started=pb.Started(seed=1, prompt_token_ids=[1, 2]))
        timers = [loop.call_later(0.001, sink.take, started)]
        for number in range(had, TOKENS):
            due = now + self.token_s * (number - had + 1)
            token = pb.GenerateResponse(delta=pb.Delta(text="x", token_ids=[number]))
            if number == self.dies_at(had) and self.deadly in ("", request.text):
                timers.append(loop.call_at(due - self.token_s / 2, self.die))
            timers.append(loop.call_at(due, sink.take, token))
        timers.append(loop.call_at(now + self.token_s * (TOKENS - had + 1), self._end, sink))
        self.open[sink] = timers
        return AnsweringCall(self, sink)

    def die(self) -> None:
        """Be lost for good."""
        self.dead = True
        self.lose()
