"""Every case, and what an engine's card says beside them."""

import asyncio
from collections.abc import Mapping
from typing import Any

from openai import AsyncOpenAI

from answering import drawing, forms, others, plain
from answering.case import Case, Outcome, asked

CASES: Mapping[str, Case] = {
    case.name: case for case in (*plain.CASES, *drawing.CASES, *forms.CASES, *others.CASES)
}

AT_ONCE = 4
"""Cases that run side by side: a step of many prompts takes long on a small machine."""


async def card_of(client: AsyncOpenAI, model: str) -> Mapping[str, Any]:
    """A model's card, as the mesh shows it."""
    return (await client.models.retrieve(model)).model_dump()


async def suite(client: AsyncOpenAI, model: str, at_once: int = AT_ONCE) -> dict[str, Outcome]:
    """Ask for everything."""
    places = asyncio.Semaphore(at_once)

    async def in_turn(case: Case) -> Outcome:
        async with places:
            return await asked(case, client, model)

    return dict(zip(CASES, await asyncio.gather(*map(in_turn, CASES.values())), strict=True))
