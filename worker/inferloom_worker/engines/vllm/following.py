"""One choice, from vLLM's pieces to the engine's events. Pure."""

from collections.abc import Iterator, Sequence

import numpy as np

from inferloom_mesh.errors import invalid, server_error
from inferloom_worker.engine.constraint import WORD, ConstraintError, Mask, Matcher
from inferloom_worker.engine.events import EndReason, Event, PromptEvent, TokenLogprobs, TokensEvent
from inferloom_worker.engine.limits import NOTHING_ALLOWED
from inferloom_worker.engine.request import GenerationRequest
from inferloom_worker.engines.vllm.backend import Piece
from inferloom_worker.engines.vllm.carried import stand_in
from inferloom_worker.engines.vllm.translation import Asked

PROMPT_PLACES = 256
"""Log-probabilities of a prompt's tokens that one event has."""


class Following:
    """Follows one choice.

    Args:
        request: The request.
        choice: The choice's index.
        asked: What vLLM was asked for.
        width: The model's logits.
    """

    def __init__(self, request: GenerationRequest, choice: int, asked: Asked, width: int) -> None:
        self.said = asked.committed
        """Tokens that the choice has."""
        self.over = False
        self._request = request
        self._choice = choice
        self._width = width
        self._matcher: Matcher | None = None
        before = request.committed.get(choice)
        self._tokens = [] if before is None else list(before.token_ids)
        self._stand_in = stand_in(request.stop_token_ids)
        if asked.followed:
            self._matcher = None if before is None else before.matcher
            if self._matcher is None and request.constraint is not None:
                self._matcher = request.constraint.matcher()

    def take(self, piece: Piece) -> Iterator[Event]:
        """The events of a piece.

        Raises:
            InferloomError: The choice cannot go on: its constraint leaves it no token, or vLLM failed it.
        """
        if piece.prompt_logprobs is not None:
            for first in range(0, len(piece.prompt_logprobs), PROMPT_PLACES):
                part = piece.prompt_logprobs[first : first + PROMPT_PLACES]
                yield PromptEvent(first + 1, part)
        if not self._request.max_tokens:
            self.over = True
            yield TokensEvent(self._choice, 0, (), end=EndReason.LENGTH)
            return
        try:
            ids, end = self._kept(piece)
        except ConstraintError as error:
            raise invalid("constraint", str(error)) from error
        self._tokens += ids
        if not ids and end is None:
            return
        at, self.said, self.over = self.said, self.said + len(ids), end is not None
        logprobs: tuple[TokenLogprobs, ...] | None = None
        if piece.logprobs is not None:
            logprobs = piece.logprobs[: len(ids)]
        yield TokensEvent(self._choice, at, ids, logprobs, end)

    def _kept(self, piece: Piece) -> tuple[tuple[int, ...], EndReason | None]:
        """The tokens that are the choice's, and whether that is its end."""
        ids = piece.token_ids
        if self._stand_in in ids:
            self._check_limits(ids)
        if self._matcher is not None:
            for place, token in enumerate(ids):
                if token in self._request.stop_token_ids:
                    return ids[: place + 1], EndReason.STOP_TOKEN
                if token == self._stand_in:
                    # It may be allowed and yet be there because the mask failed, as it does here again.
                    self._matcher.fill(self._mask())
                if not self._matcher.allowed((token,)):
                    self._check_complete(self._matcher)
                    return ids[:place], EndReason.COMPLETE
                self._matcher.accept(token)
                if self._matcher.ended:
                    return ids[: place + 1], EndReason.COMPLETE
        match piece.end:
            case None:
                return ids, None
            case "length":
                return ids, EndReason.LENGTH
            case "stop":
                stopped = bool(ids) and ids[-1] in self._request.stop_token_ids
                return ids, EndReason.STOP_TOKEN if stopped else EndReason.COMPLETE
            case _:
                raise server_error()

    def _check_limits(self, ids: Sequence[int]) -> None:
        """The token that stands where none may come is there: right only if it may."""
        limits = self._request.limits
        if limits is None:
            return
        for place, token in enumerate(ids):
            if token != self._stand_in:
                continue
            barred = token in limits.barred([*self._tokens, *ids[:place]])
            if barred or (limits.allowed is not None and token not in limits.allowed):
                raise invalid("sampling", NOTHING_ALLOWED)

    def _mask(self) -> Mask:
        return np.zeros(-(-self._width // WORD), np.int32)

    def _check_complete(self, matcher: Matcher) -> None:
        """A token came that may not: right only where none may."""
        if matcher.fill(self._mask()):
            words = "The constraint leaves no token that the model could say here."
            raise invalid("constraint", words)
