"""How long a step of vLLM's may take, measured before there are requests.

vLLM reads as many tokens of prompts in one step as it was told to, which on processors that are slow with a
model's numbers is minutes. Who waits for it takes silence for a stall where no step is known to be as long,
so a small piece is read at the beginning, and the whole is in proportion.
"""

import logging
from collections.abc import Callable

from inferloom_worker.engine.protocol import EngineInfo
from inferloom_worker.engines.vllm.backend import Backend, Named, RefusedError
from inferloom_worker.engines.vllm.translation import Asked

log = logging.getLogger(__name__)

PIECE = 128
"""Tokens that are read to measure."""

MOST_S = 120.0
"""No step is taken to be longer: an engine that hangs is to be found."""


async def full_step_s(backend: Backend, info: EngineInfo, clock: Callable[[], float]) -> float:
    """Seconds that a step takes which reads as much as there may be; 0: not known.

    Raises:
        DeadError: The engine ended over it.
    """
    whole = backend.step_tokens
    piece = min(PIECE, whole, info.context_length - 1)
    if piece < 1:
        return 0.0
    took = 0.0
    # Other tokens each time, or the second would be in the cache; the first also pays what is paid once.
    for number, token in enumerate((info.vocab_size // 2, info.vocab_size // 3)):
        began = clock()
        try:
            await _read(backend, info, [token] * piece, f"m{number}")
        except RefusedError as refused:
            log.info("how long steps take is not known: vLLM refused a prompt: %s", refused)
            return 0.0
        took = clock() - began
    return min(took * whole / piece, MOST_S)


async def _read(backend: Backend, info: EngineInfo, prompt: list[int], name: str) -> None:
    if info.embedding_dimensions is not None:
        await backend.embed(prompt, Named(name))
        return
    asked = Asked(prompt, 0, {"max_tokens": 1, "temperature": 0.0})
    async for _ in backend.generate(asked, Named(name)):
        pass
