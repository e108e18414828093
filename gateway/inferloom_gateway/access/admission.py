"""One request's way past the limits: counted when its calls begin, settled when it ends."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.access.limits.cost import Cost, cost_of
from inferloom_gateway.access.limits.counts import Ask, Counts, CountsAwayError, Refused, Taken
from inferloom_gateway.access.standing import Headers, headers_of, refusal
from inferloom_gateway.access.usage import UsageMeter
from inferloom_gateway.calls.link import UnaryRequest
from inferloom_gateway.calls.listener import Listener
from inferloom_gateway.calls.records import Record
from inferloom_mesh.errors import InferloomError, overloaded


class ClosedKeys:
    """Keys that have no requests left for now, so that theirs are refused before their bodies are read."""

    def __init__(self, most: int = 4096) -> None:
        self._until: dict[str, tuple[float, Refused, Headers]] = {}
        self._most = most

    def close(self, key_id: str, refused: Refused, headers: Headers) -> None:
        """Note a refusal that holds for a while whatever happens: requests leave a minute only by time."""
        if refused.kind == "requests" and refused.wait_s and not refused.ask.bucket.startswith("model:"):
            if len(self._until) >= self._most:
                self._until.clear()
            self._until[key_id] = time.monotonic() + refused.wait_s, refused, headers

    def closed(self, key_id: str) -> tuple[InferloomError, Headers] | None:
        """Why a key is closed, and the headers that say so; None: it is not."""
        found = self._until.get(key_id)
        if found is None:
            return None
        until, refused, headers = found
        left = until - time.monotonic()
        if left <= 0:
            del self._until[key_id]
            return None
        return refusal(replace(refused, wait_s=left), 0), headers

    def clear(self) -> None:
        """Open all again: other limits hold."""
        self._until.clear()


class Admission:
    """Of one request with a key.

    Args:
        counts: Count.
        asks: What it counts for, its key's own first.
        key_id: Its key.
        context_length: Of the model that it names; 0: nobody knows.
        usage: Is told what it used.
        closed: Is told of keys that have no requests left.
    """

    def __init__(
        self,
        counts: Counts,
        asks: Sequence[Ask],
        key_id: str,
        context_length: int,
        usage: UsageMeter,
        closed: ClosedKeys,
    ) -> None:
        self.headers: Headers = []
        """What the response tells of the limits."""
        self.key_id = key_id
        self._counts = counts
        self._asks = asks
        self._context_length = context_length
        self._usage = usage
        self._closed = closed
        self._taken: list[Taken] = []
        self._free = 0
        """Tokens that are reserved for no call."""
        self._prompt = 0
        """Tokens of the prompts of its calls, by their size."""
        self._entered = False
        self._turn = asyncio.Lock()

    @property
    def counted_in(self) -> list[str]:
        """What it counts for, such as ``key:1f2e3d4c5b6a``; empty before it was counted."""
        return [ask.bucket for ask in self._asks] if self._taken else []

    @property
    def reserved_tokens(self) -> int:
        """Tokens that are reserved for it."""
        return sum(each.tokens for each in self._taken)

    async def admit(self, request: pb.GenerateRequest | pb.EmbedRequest | UnaryRequest) -> None:
        """Count a call, and with the first one the request. First goes what is left of calls that came to
        nothing.

        Raises:
            InferloomError: A key, tenant or model has no room for it, or nobody can say.
        """
        cost = cost_of(request, self._context_length)
        if self._asks:
            async with self._turn:
                await self._take(cost)
        self._entered = True
        self._prompt += cost.prompt

    def give_back(self, request: pb.GenerateRequest | pb.EmbedRequest | UnaryRequest) -> None:
        """Have what a call reserved, which came to nothing, for the next one."""
        cost = cost_of(request, self._context_length)
        self._prompt -= cost.prompt
        if self._asks:
            self._free += self._reserves(cost)

    def settle(self, record: Record) -> None:
        """Count what the request used, once it is over."""
        if not self._entered:
            return
        prompt, completion = self._used(record)
        self._usage.add(self.key_id, prompt, completion)
        if self._taken:
            self._counts.settle(self._asks, self._taken, prompt + completion)

    async def _take(self, cost: Cost) -> None:
        tokens = self._reserves(cost)
        more = max(0, tokens - self._free)
        if self._taken and not more:
            self._free -= tokens
            return
        try:
            answer = await self._counts.take(self._asks, more, enters=not self._taken)
        except CountsAwayError as failure:
            raise overloaded(f"Limits cannot be counted now: {failure}.") from failure
        self.headers = headers_of(self._asks, answer.levels)
        if isinstance(answer, Refused):
            self._closed.close(self.key_id, answer, self.headers)
            raise refusal(answer, more)
        self._taken.append(answer)
        self._free -= tokens - more

    def _reserves(self, cost: Cost) -> int:
        return min(cost.within(ask.limits.tokens_per_minute) for ask in self._asks)

    def _used(self, record: Record) -> tuple[int, int]:
        """Tokens of prompt and answer. Of one that did not come to its end, as many as are known of."""
        prompt, completion = record.prompt_tokens, record.completion_tokens
        if record.error is not None or record.cancelled:
            if any(each.accepted_s is not None for each in record.attempts):
                prompt = max(prompt, self._prompt)
            if record.method == "generate":
                completion = max(completion, record.delivered)
        return prompt, completion


class Settling(Listener):
    """Settles requests when they end."""

    def on_ended(self, record: Record) -> None:
        """Settle one."""
        if isinstance(record.admission, Admission):
            record.admission.settle(record)
