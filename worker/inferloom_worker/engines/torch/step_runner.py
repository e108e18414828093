"""Steps of a model: from the sequences' shares of one to the events that it produced."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inferloom_mesh.errors import InferloomError, Reason, invalid, overloaded, server_error
from inferloom_worker.engine.events import (
    EndReason,
    Event,
    PromptEvent,
    TokenLogprobs,
    TokensEvent,
    VectorEvent,
)
from inferloom_worker.engine.health import MemorySuspectError
from inferloom_worker.engine.limits import NOTHING_ALLOWED
from inferloom_worker.engine.mailbox import Mailbox
from inferloom_worker.models.cuda_graph import wait_for
from inferloom_worker.models.protocol import CausalModel, EmbeddingModel
from inferloom_worker.stepping.adjusting import Masks
from inferloom_worker.stepping.batch import StepBatch
from inferloom_worker.stepping.masks import FREE, MaskFiller, MaskWork, PlaceMask
from inferloom_worker.stepping.outcome import NO_NUMBERS, NO_TIME, Outcome, follow, verify
from inferloom_worker.stepping.pacing import Pacing
from inferloom_worker.stepping.row import Row
from inferloom_worker.stepping.sampler import SampledToken, sample
from inferloom_worker.stepping.scheduler import Scheduler
from inferloom_worker.stepping.scoring import score
from inferloom_worker.stepping.sequence import SequenceState
from inferloom_worker.stepping.work import Work

log = logging.getLogger(__name__)

Post = tuple[Mailbox, Event | InferloomError]
"""An event for whoever waits for it."""


class StepRunner:
    """Computes what the scheduler chose, and tells it what came of it. For the engine's thread.

    A sequence that cannot be computed ends its own request, neither the process nor its neighbours in the
    step: what failed together is computed again, each alone.

    Args:
        model: The model, with its cache.
        scheduler: Whose sequences they are.
        pacing: Learns how long steps take.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        model: CausalModel,
        scheduler: Scheduler,
        pacing: Pacing,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._scheduler = scheduler
        self._pacing = pacing
        self._clock = clock
        self._masks = MaskFiller()
        self.generated = 0
        """Tokens that were generated."""

    def run(self, work: list[Work]) -> Iterator[list[Post]]:
        """Compute the prompts' and answers' share of a step, then that of the texts to embed; what each
        produced is to be handed over before the next."""
        embedding = [item for item in work if item.sequence.request.embeds]
        generating = [item for item in work if not item.sequence.request.embeds] if embedding else work
        if generating:
            yield self._generate(generating)
        if embedding:
            yield self._embed(embedding)

    def _generate(self, work: list[Work]) -> list[Post]:
        now = self._clock()
        _start(work, now)
        try:
            step = self._compute(work)
        except MemorySuspectError:
            raise
        except Exception:
            # The boundary of a step: a model may raise whatever its libraries do.
            log.exception("a step of %d sequences failed", len(work))
            return self._one_by_one(self._generate, work)
        outcomes = list(map(_outcome, work, step.choices, step.masks))
        self._scheduler.advance(work, [outcome.tokens for outcome in outcomes])
        started, now = now, self._clock()
        self._pace(work, outcomes, now - started)
        posts: list[Post] = []
        for item, outcome, scored in zip(work, outcomes, step.scores, strict=True):
            sequence = item.sequence
            mailbox = sequence.mailbox
            failure = outcome.failure or (NO_NUMBERS if scored is None else None)
            if failure is not None or scored is None:
                posts += self.fail([sequence], failure, by_caller=outcome.by_constraint)
                continue
            if item.scores:
                mailbox.posted_at = now
                posts.append((mailbox, PromptEvent(item.scores.start + 1, scored)))
            if not outcome.tokens and outcome.end is None:  # a part of a prompt
                if not sequence.request.max_tokens and not sequence.remaining:
                    posts.append(self._read_to_the_end(sequence, now))
                continue
            self.generated += len(outcome.tokens)
            _time(sequence, now)
            mailbox.posted_at = now
            if outcome.end is not None:
                self._scheduler.remove(sequence)
            posts.append((mailbox, _tell(sequence, outcome)))
        return posts

    def _read_to_the_end(self, sequence: SequenceState, now: float) -> Post:
        """End a sequence of which nothing but its prompt is wanted."""
        _time(sequence, now)
        self._scheduler.remove(sequence)
        return sequence.mailbox, TokensEvent(sequence.choice, 0, (), None, EndReason.LENGTH)

    def _pace(self, work: list[Work], outcomes: list[Outcome], seconds: float) -> None:
        """Learn from a step how long steps take, and from one that only decoded what drafts cost."""
        drafted = [item for item in work if item.draft]
        rows = sum([item.count for item in work]) + sum(item.forced for item in drafted)
        drafts = sum(item.guessed for item in drafted)
        self._pacing.took(rows + drafts, seconds)
        kinds = {item.sequence.request.sampling.greedy for item in drafted if item.guessed}
        if not drafts:
            self._pacing.observe(rows, seconds)
        elif rows == len(work) and len(kinds) == 1:
            accepted = sum(outcome.accepted for outcome in outcomes)
            self._pacing.observe_drafts(rows, drafts, accepted, seconds, greedy=kinds.pop())

    def _compute(self, work: list[Work]) -> "_Computed":
        """Run the model and choose tokens. What constraints allow is worked out while the model runs."""
        bound = [item for item in work if item.samples and item.sequence.matcher is not None]
        filling = self._masks.start([_mask_work(item) for item in bound], self._model.vocab_size)
        try:
            logits = self._model.forward(StepBatch.pack(work, self._model.device))
        finally:
            filled = filling.wait()  # whatever comes next, the matchers are this thread's again
        if not len(logits):
            # Nothing else waits for a step that only reads: its time would be the next one's.
            wait_for(self._model.device)
        scores: list[tuple[TokenLogprobs, ...] | None] = [()] * len(work)
        if any(item.scores for item in work):
            logits, scores = _scored(logits, work)
        counts = [len(item.draft) + 1 if item.samples else 0 for item in work]
        masks: list[list[PlaceMask]] = [[]] * len(work)
        allowed: Masks | None = None
        if bound:
            own = dict(zip((item.sequence for item in bound), filled, strict=True))
            masks = [own.get(item.sequence, []) for item in work]
            each = zip(masks, counts, strict=True)
            allowed = [mask.words for found, count in each for mask in found or [FREE] * count]
        chosen = sample(logits, _rows(work), self._model.chooser, allowed)
        return _Computed(_parted(chosen, counts), masks, scores)

    def _embed(self, work: list[Work]) -> list[Post]:
        """Read a step's share of the texts to embed; return the vectors of those that are read to the end."""
        assert isinstance(self._model, EmbeddingModel)
        started = self._clock()
        _start(work, started)
        try:
            vectors = self._model.hidden(StepBatch.pack(work, self._model.device)).cpu().numpy()
        except MemorySuspectError:
            raise
        except Exception:
            # As for a step of sequences.
            log.exception("a step of %d texts failed", len(work))
            return self._one_by_one(self._embed, work)
        self._scheduler.advance(work, [[] for _ in work])
        now = self._clock()
        rows = sum(item.count for item in work)
        self._pacing.took(rows, now - started)
        self._pacing.observe(rows, now - started)
        posts: list[Post] = []
        read = [item.sequence for item in work if item.samples]
        for sequence, vector in zip(read, vectors, strict=True):
            if not np.isfinite(vector).all():
                posts += self.fail([sequence], NO_NUMBERS)
                continue
            _time(sequence, now)
            self._scheduler.remove(sequence)
            posts.append((sequence.mailbox, VectorEvent(vector)))
        return posts

    def _one_by_one(self, compute: Callable[[list[Work]], list[Post]], work: list[Work]) -> list[Post]:
        """Compute what failed together again, each alone; one that was alone fails."""
        if len(work) == 1:
            return self.fail([work[0].sequence])
        posts: list[Post] = []
        for item in work:
            if item.sequence in self._scheduler.running:  # another choice of its request may have failed
                posts += compute([item])
        return posts

    def close(self) -> None:
        """Let its threads end."""
        self._masks.close()

    def fail(
        self, sequences: list[SequenceState], words: str | None = None, *, by_caller: bool = False
    ) -> list[Post]:
        """End whole requests with a server error, whose message is ``words`` or says nothing; where it is the
        caller's doing, with that of a bad constraint; where there was no time, with one that lets them go on
        elsewhere."""
        doomed = {s.mailbox for s in sequences}
        for sequence in self._scheduler.sequences():
            if sequence.mailbox in doomed:
                self._scheduler.remove(sequence)
        if words is None:
            error = server_error()
        elif words == NO_TIME:
            error = overloaded(words)
        else:
            at_fault = "sampling" if words == NOTHING_ALLOWED else "constraint"
            error = invalid(at_fault, words) if by_caller else InferloomError(Reason.SERVER_ERROR, words)
        return [(mailbox, error) for mailbox in doomed]


@dataclass(frozen=True, slots=True)
class _Computed:
    """What a step came to, for each of its works."""

    choices: list[list[SampledToken]]
    """Tokens: one more than the work drafts where it samples, else none."""
    masks: list[list[PlaceMask]]
    """What constraints allowed at their places."""
    scores: list[tuple[TokenLogprobs, ...] | None]
    """What the tokens of its prompt are worth, where that is wanted. None: there are no finite numbers."""


def _rows(work: list[Work]) -> list[Row]:
    """The places whose tokens are chosen."""
    rows: list[Row] = []
    for item in work:
        if item.samples:
            rows.append(Row(item.sequence))
            if item.draft:
                rows += [Row(item.sequence, item.draft[:ahead]) for ahead in range(1, len(item.draft) + 1)]
    return rows


def _parted(chosen: list[SampledToken], counts: list[int]) -> list[list[SampledToken]]:
    """As many of them for each work as it has."""
    parts: list[list[SampledToken]] = []
    start = 0
    for count in counts:
        parts.append(chosen[start : start + count])
        start += count
    return parts


def _mask_work(item: Work) -> MaskWork:
    assert item.sequence.matcher is not None
    return MaskWork(item.sequence.matcher, item.draft, item.sequence.request.stop_token_ids)


def _outcome(item: Work, chosen: list[SampledToken], masks: list[PlaceMask]) -> Outcome:
    """What a work yields, with which its matcher has gone along."""
    outcome = verify(item, chosen, masks)
    matcher = item.sequence.matcher
    return outcome if matcher is None else follow(outcome, matcher, item.sequence.request.stop_token_ids)


def _scored(logits: Tensor, work: list[Work]) -> tuple[Tensor, list[tuple[TokenLogprobs, ...] | None]]:
    """The rows of logits [R, vocab_size] in which tokens are chosen, and what the others say of prompts."""
    scores: list[tuple[TokenLogprobs, ...] | None] = []
    kept: list[int] = []
    row = 0
    for item in work:
        tokens = [item.sequence.tokens[place + 1] for place in item.scores]
        count = item.sequence.request.prompt_logprobs or 0
        scores.append(score(logits[row : row + len(tokens)], tokens, count))
        row += len(tokens)
        chosen = len(item.draft) + 1 if item.samples else 0
        kept.extend(range(row, row + chosen))
        row += chosen
    return logits[torch.tensor(kept, dtype=torch.int64, device=logits.device)], scores


def _start(work: list[Work], now: float) -> None:
    """Note the sequences whose first step this is."""
    for sequence in [item.sequence for item in work if item.sequence.started_at is None]:
        sequence.started_at = now
        stats = sequence.mailbox.stats
        stats.queue_s = max(stats.queue_s, now - sequence.submitted_at)
        if sequence.choice == sequence.request.choices[0]:
            stats.cached_prompt_tokens = min(sequence.reused, len(sequence.request.prompt))


def _time(sequence: SequenceState, now: float) -> None:
    """Note how long a sequence took to its first token, and since."""
    stats = sequence.mailbox.stats
    if sequence.first_token_at is None:
        sequence.first_token_at = now
        stats.prefill_s = max(stats.prefill_s, now - (sequence.started_at or now))
    if (decode_s := now - sequence.first_token_at) > stats.decode_s:
        stats.decode_s = decode_s


def _tell(sequence: SequenceState, outcome: Outcome) -> TokensEvent:
    """The event for what was just appended to a sequence."""
    tokens = outcome.tokens
    return TokensEvent(
        sequence.choice,
        len(sequence.tokens) - len(sequence.request.prompt) - len(tokens),
        tuple(tokens),
        tuple(outcome.logprobs) if outcome.logprobs else None,
        outcome.end,
        outcome.accepted,
        outcome.rejected,
    )
