"""A capability: how it is asked for, and what must be true of the answer. Pure but for the asking."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openai import APIStatusError, AsyncOpenAI

LIMIT_S = 300.0

_SAID = 800
"""Characters that are told of what is wrong."""

Seen = Any
"""What came, as plain values that another engine's can be compared with."""

Ask = Callable[[AsyncOpenAI, str], Awaitable[Seen]]
"""Asks a model by its name."""

Judge = Callable[[Seen], bool]
"""Whether what came is right."""


@dataclass(frozen=True)
class Case:
    """A capability.

    ``needs`` are what a model's card lists where its engine has it: tasks, parameters by REST's names, and
    kinds of constraints; one of several with a bar between them.
    """

    name: str
    ask: Ask
    right: Judge
    needs: Sequence[str] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of a case."""

    seen: Seen = None
    wrong: str = ""
    """What is wrong with the answer; empty: nothing, or there is none."""
    status: int = 0
    """Of a refusal; 0: there was none."""
    code: str = ""
    param: str = ""
    message: str = ""

    @property
    def refused(self) -> bool:
        """Whether it was refused in words."""
        return 400 <= self.status < 500


async def asked(case: Case, client: AsyncOpenAI, model: str) -> Outcome:
    """Ask for a capability."""
    try:
        async with asyncio.timeout(LIMIT_S):
            seen = await case.ask(client, model)
            return Outcome(seen, _wrong(case, seen))
    except APIStatusError as refusal:
        body: Mapping[str, Any] = refusal.body if isinstance(refusal.body, dict) else {}
        told = (str(body.get(name) or "") for name in ("code", "param", "message"))
        return Outcome(None, "", refusal.status_code, *told)
    except Exception as failure:  # whatever a client makes of an answer is a finding
        return Outcome(wrong=f"{type(failure).__name__}: {failure}"[:_SAID])


def _wrong(case: Case, seen: Seen) -> str:
    try:
        return "" if case.right(seen) else f"came: {seen}"[:_SAID]
    except Exception as failure:  # such as JSON that is none
        return f"{type(failure).__name__} of {seen}"[:_SAID]


@dataclass(frozen=True)
class Verdict:
    """What an outcome is beside the model's card."""

    told: bool
    """Whether the card says that it is so."""
    words: str


def verdict(case: Case, outcome: Outcome, card: Mapping[str, Any]) -> Verdict:
    """Judge an outcome by the card, as ``GET /v1/models/{id}`` has it."""
    can = {*card["capabilities"], *card["supported_parameters"], *(card.get("constraints") or ())}
    lacks = [need for need in case.needs if can.isdisjoint(need.split("|"))]
    if outcome.wrong:
        return Verdict(told=False, words=outcome.wrong)
    if outcome.refused:
        words = f"no: {outcome.param or outcome.code}"
        return Verdict(told=bool(lacks), words=words if lacks else f"{words}: {outcome.message[:200]}")
    if outcome.status:
        return Verdict(told=False, words=f"{outcome.status}: {outcome.message[:200]}")
    return Verdict(told=not lacks, words=f"yes, without {', '.join(lacks)} on its card" if lacks else "yes")
