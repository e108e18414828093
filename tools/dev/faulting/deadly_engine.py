"""An engine that a prompt can kill, for the row that tells what such a prompt costs. Otherwise it echoes."""

import asyncio
import os
import signal

from inferloom_worker.engine.mailbox import Mailbox
from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engine.request import GenerationRequest
from inferloom_worker.engines.echo import EchoEngine
from inferloom_worker.engines.registry import EngineKind
from inferloom_worker.sourcing.echo_options import EchoOptions
from inferloom_worker.sourcing.sources import ModelSource

DEADLY = "a prompt that kills"

DEADLY_TO_READ = "reading this kills"
"""A prompt that does so before anything is said of it."""

TOKEN_MS = 150
"""What a token takes: less than a suspect has before the next may join it, so that deaths can be counted."""

AFTER_S = 0.1
"""How long the process lives on: it has no token by then."""

ENTRY_POINTS = "[inferloom.engines]\ndeadly = faulting.deadly_engine:KIND\n"
"""What a distribution says that offers it."""


class DeadlyEngine(EchoEngine):
    """Its process dies a moment after it has taken the one prompt, and at once of the other."""

    def submit(self, request: GenerationRequest) -> Mailbox:
        """Queue a request, or die of it."""
        said = bytes(token for token in request.prompt if token < 256)
        if DEADLY_TO_READ.encode() in said:
            os.kill(os.getpid(), signal.SIGKILL)
        if DEADLY.encode() in said:
            asyncio.get_running_loop().call_later(AFTER_S, os.kill, os.getpid(), signal.SIGKILL)
        return super().submit(request)


def _start(source: ModelSource, options: EngineOptions, vocab_size: int) -> DeadlyEngine:
    return DeadlyEngine(EchoOptions(delay_ms=TOKEN_MS), options, vocab_size)


KIND = EngineKind(_start, reads_files=False)
