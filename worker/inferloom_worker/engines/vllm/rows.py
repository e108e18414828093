"""The choices that are carried, as they are chosen for. In vLLM's worker process; knows no vLLM."""

import logging
import threading
from collections.abc import Callable, Container, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inferloom_mesh.errors import InferloomError
from inferloom_worker.constrain.grammar import Grammar, GrammarConstraint, Grammars
from inferloom_worker.engine.constraint import WORD, ConstraintError, Mask, Matcher, PortableConstraint
from inferloom_worker.engines.vllm.carried import Carried, read_carried, stand_in
from inferloom_worker.stepping.adjustment import Adjustment
from inferloom_worker.stepping.drawing import NO_TOKEN
from inferloom_worker.stepping.row import Row
from inferloom_worker.stepping.sampler import TorchChooser, sample

NEVER = -1
"""A token that vLLM has not told yet: behind it nothing is known."""

_THREADS = 4
"""Grammars that are compiled at once, while vLLM computes the step that their requests join."""

log = logging.getLogger(__name__)


class CarriedSequence:
    """One carried choice: what :class:`~inferloom_worker.stepping.sampler.Row` asks of a sequence.

    Args:
        carried: What was told of it.
        committed: Its tokens of before.
        output: vLLM's own list of what it has generated since, which grows.
        coming: Its constraint behind those of before, which may still be compiled: its first step, and with
            it everybody's, waits for it. None: it has none.
    """

    def __init__(
        self,
        carried: Carried,
        committed: Sequence[int],
        output: Sequence[int],
        coming: "Future[Matcher] | None",
    ) -> None:
        self.request = carried.request
        self.choice = carried.choice
        self.tokens: list[int] = [*carried.request.prompt, *committed]
        self.adjustment = Adjustment.of(carried.request, self.tokens)
        self._output = output
        self._taken = 0
        self._coming = coming
        self._matcher: Matcher | None = None
        self._failed = False

    @property
    def generated(self) -> int:
        """Its tokens so far, those of before included."""
        return len(self.tokens) - len(self.request.prompt)

    def catch_up(self) -> None:
        """Take in what vLLM has generated since, and the constraint when it is compiled."""
        if self._coming is not None:
            self._come(self._coming)
            self._coming = None
        fresh = [token for token in self._output[self._taken :] if token > NEVER]
        self._taken += len(fresh)
        self.tokens += fresh
        if self._matcher is not None:
            self._follow(fresh)

    def mask(self, width: int) -> Mask | None:
        """The tokens that may come. None: all; an empty one: none, and it is over."""
        if self._matcher is None and not self._failed:
            return None
        found = np.zeros(-(-width // WORD), np.int32)
        if self._failed or self._matcher is None:
            return found
        try:
            more = self._matcher.fill(found)
        except ConstraintError:
            more, self._failed = False, True
        if not more:
            found[:] = 0
        return found

    def _come(self, coming: "Future[Matcher]") -> None:
        try:
            self._matcher = coming.result()
        except (ConstraintError, InferloomError) as failure:
            log.info("a constraint cannot be followed: %s", failure)
            self._failed = True

    def _follow(self, tokens: Sequence[int]) -> None:
        try:
            if self._matcher is not None and not self._failed:
                follow(self._matcher, tokens, self.request.stop_token_ids)
        except ConstraintError:
            self._failed = True


class CarriedBatch:
    """The carried choices of vLLM's batch, by their rows.

    Args:
        grammars: Makes the model's compiler of grammars, when the first is needed.
    """

    def __init__(self, grammars: Callable[[], Grammars]) -> None:
        self._rows: dict[int, CarriedSequence] = {}
        self._chooser = TorchChooser()
        self._make = grammars
        self._grammars: Grammars | None = None
        self._making = threading.Lock()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="grammars")
        self._compiling: dict[PortableConstraint, Future[GrammarConstraint]] = {}
        """What is being compiled: the choices of a request come together, and want the same."""

    def left(self, index: int) -> None:
        """A row is free."""
        self._rows.pop(index, None)

    def came(
        self, index: int, told: Mapping[str, Any] | None, prompt: list[int], output: Sequence[int]
    ) -> None:
        """A request has a row.

        Args:
            index: The row.
            told: What :meth:`.carried.Carried.told` told. None: it is not carried.
            prompt: What vLLM reads of it.
            output: vLLM's own list of what it generates, which grows.
        """
        self._rows.pop(index, None)
        if told is not None:
            carried = read_carried(told, prompt)
            committed = prompt[len(prompt) - carried.committed :]
            coming = None
            if carried.constraint is not None:
                coming = self._begin(carried.constraint, committed, carried.request.stop_token_ids)
            self._rows[index] = CarriedSequence(carried, committed, output, coming)

    def moved(self, one: int, other: int, *, swap: bool) -> None:
        """A request has the ``other`` row now; with ``swap`` what was there has its own."""
        here, there = self._rows.pop(one, None), self._rows.pop(other, None)
        if here is not None:
            self._rows[other] = here
        if there is not None and swap:
            self._rows[one] = there

    def apply(self, logits: Tensor) -> Tensor:
        """Choose for the rows that are carried, and leave each of them its token only, in place."""
        if self._rows:
            places = sorted(self._rows)
            sequences = [self._rows[at] for at in places]
            tokens = choose(logits[places], sequences, self._chooser)
            put(logits, places, [_named(*each) for each in zip(tokens, sequences, strict=True)])
        return logits

    def _begin(
        self, asked: PortableConstraint, committed: Sequence[int], stops: Container[int]
    ) -> "Future[Matcher]":
        """Make a constraint behind these tokens, on threads. vLLM tells of a request with the step that it
        joins: what that computes goes on meanwhile, and its end waits."""
        compiled = self._compiling.get(asked)
        if compiled is None:
            compiled = self._compiling[asked] = self._threads.submit(self._compile, asked)
            compiled.add_done_callback(lambda _: self._compiling.pop(asked))
        coming: Future[Matcher] = Future()
        # Behind it, and not on a thread that waits for it: others' grammars want that.
        compiled.add_done_callback(lambda made: self._threads.submit(_come, coming, made, committed, stops))
        return coming

    def _compile(self, asked: PortableConstraint) -> GrammarConstraint:
        with self._making:
            if self._grammars is None:
                self._grammars = self._make()
        return self._grammars.compile(
            Grammar(asked.grammar), stops=frozenset(asked.stops), ignores_ends=asked.ignores_ends
        )


def _come(
    coming: "Future[Matcher]",
    compiled: "Future[GrammarConstraint]",
    committed: Sequence[int],
    stops: Container[int],
) -> None:
    try:
        matcher = compiled.result().matcher()
        follow(matcher, committed, stops)
    except BaseException as failure:  # the step that waits for it is told of everything
        coming.set_exception(failure)
    else:
        coming.set_result(matcher)


def follow(matcher: Matcher, tokens: Sequence[int], stops: Container[int]) -> None:
    """Go along with tokens, up to one that ends the choice. Raises ConstraintError where one may not come."""
    for token in tokens:
        if token in stops:
            return
        matcher.accept(token)


def choose(logits: Tensor, sequences: Sequence[CarriedSequence], chooser: TorchChooser) -> list[int]:
    """A token for each row of logits float32 [R, vocab_size], which are changed; NO_TOKEN where none may
    come."""
    for sequence in sequences:
        sequence.catch_up()
    masks = [sequence.mask(logits.shape[-1]) for sequence in sequences]
    rows = [Row(sequence) for sequence in sequences]
    given = None if all(mask is None for mask in masks) else masks
    return [each.token for each in sample(logits, rows, chooser, given)]


def put(logits: Tensor, places: Sequence[int], tokens: Sequence[int]) -> None:
    """Leave each row of ``logits`` at ``places`` only its token."""
    at = torch.tensor(places, device=logits.device)
    logits[at] = -torch.inf
    logits[at, torch.tensor(tokens, device=logits.device)] = 0.0


def _named(token: int, sequence: CarriedSequence) -> int:
    return stand_in(sequence.request.stop_token_ids) if token == NO_TOKEN else token
