"""How long a step of vLLM's may take, measured before there are requests.

vLLM reads as many tokens of prompts in one step as it was told to, which on processors that are slow with a
model's numbers is minutes. Who waits for it takes silence for a stall where no step is known to be as long,
so two small pieces are read at the beginning, and the whole is on the line through them.
"""

import asyncio
import logging
from collections.abc import Callable

from inferloom_worker.engine.protocol import EngineInfo
from inferloom_worker.engines.vllm.backend import Backend, DeadError, Named
from inferloom_worker.engines.vllm.translation import Asked

log = logging.getLogger(__name__)

PIECES = (16, 128)
"""Tokens that are read to measure."""

MOST_S = 60.0
"""No step is taken to be longer: an engine that hangs is to be found."""

PATIENCE_S = 180.0
"""How long measuring may take. An engine that has not read as little by then is taken for a slow one."""


async def full_step_s(backend: Backend, info: EngineInfo, clock: Callable[[], float]) -> float:
    """Seconds that a step takes which reads as much as there may be; 0: not known.

    Raises:
        DeadError: The engine ended over it.
    """
    whole, longest = backend.step_tokens, info.context_length - 1
    small, large = (min(size, whole, longest) for size in PIECES)
    if small < 1 or small == large:
        return 0.0
    try:
        async with asyncio.timeout(PATIENCE_S):
            await _took(backend, info, large, 0, clock)  # what is paid once
            base = await _took(backend, info, small, 1, clock)
            more = await _took(backend, info, large, 2, clock)
    except TimeoutError:
        return MOST_S
    except DeadError:
        raise
    except Exception as failure:  # whatever it is, requests may fare better
        log.info("how long steps take is not known: a prompt to measure them failed: %s", failure)
        return 0.0
    a_token = max(0.0, more - base) / (large - small)
    return min(more + a_token * (whole - large), MOST_S)


async def _took(
    backend: Backend, info: EngineInfo, size: int, number: int, clock: Callable[[], float]
) -> float:
    """Seconds that a prompt took of which nothing is in the cache: each has another token."""
    prompt, named = [info.vocab_size // (2 + number)] * size, Named(f"m{number}")
    began = clock()
    if info.embedding_dimensions is not None:
        await backend.embed(prompt, named)
    else:
        asked = Asked(prompt, 0, {"max_tokens": 1, "temperature": 0.0})
        async for _ in backend.generate(asked, named):
            pass
    return clock() - began
