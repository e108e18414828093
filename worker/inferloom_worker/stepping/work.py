"""What a step computes, and what it has room for. Pure."""

from inferloom_mesh.light_dataclasses import dataclass
from inferloom_worker.stepping.sequence import SequenceState


@dataclass(frozen=True, slots=True)
class Work:
    """Compute ``count`` tokens of a sequence from its first uncomputed one; ``samples`` when that is all of
    them, so that the step yields its next token. The tokens of a ``draft`` are computed after them, and yield
    one more for each that turns out right. ``scores`` are the places whose logits tell how likely the next
    tokens of the prompt are, where that is wanted."""

    sequence: SequenceState
    count: int
    samples: bool
    draft: tuple[int, ...] = ()
    forced: int = 0
    """How many tokens of the draft come whatever the model says: a constraint leaves no others."""
    scores: range = range(0)

    @property
    def guessed(self) -> int:
        """Tokens of the draft that may turn out wrong."""
        return len(self.draft) - self.forced

    @property
    def rows(self) -> int:
        """Tokens that are computed, the draft's included."""
        return self.count + len(self.draft)


@dataclass(slots=True)
class Room:
    """What a step may still read: tokens, and places whose logits are wanted."""

    tokens: int
    scores: int


def within(sequence: SequenceState, count: int, scores: int) -> int:
    """As many of ``count`` tokens as need the logits of at most ``scores`` places of the prompt."""
    wanted = sequence.unscored(sequence.computed, sequence.computed + count)
    return count if len(wanted) <= scores else wanted.start + scores - sequence.computed


def work_of(sequence: SequenceState, count: int) -> Work:
    """What computing ``count`` tokens of a sequence is."""
    return Work(
        sequence,
        count,
        samples=count == sequence.remaining and sequence.request.max_tokens > 0,
        scores=sequence.unscored(sequence.computed, sequence.computed + count),
    )
