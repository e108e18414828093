"""What is new of one choice, in pieces that each become a Delta: tokens, and what they say of one kind."""

from collections.abc import Sequence
from dataclasses import field

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.light_dataclasses import dataclass
from inferloom_worker.engine.events import TokenLogprobs
from inferloom_worker.output.parsing import Kind, Said, Stretch


@dataclass(slots=True)
class Piece:
    """What becomes one Delta."""

    place: int
    """Tokens of the choice before it."""
    ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    """One for each of them, or none at all."""
    stretch: Stretch | None = None
    """What they say. None: nothing that is final."""
    hides: bool = False
    """Whether its last token ended the choice and has no text."""


class News:
    """The pieces, in order.

    Of what one token says in several stretches the last has the token, and those before it have none: who has
    a token has all that became final by it, and who goes on before it hears all of that again.

    Args:
        place: Tokens of the choice before them.
        apart: Whether the log-probabilities of tokens are told by what the tokens say: those that say nothing
            yet belong to what follows them.
    """

    __slots__ = ("_apart", "_place", "finished", "pieces")

    def __init__(self, place: int, *, apart: bool) -> None:
        self.pieces: list[Piece] = []
        self.finished: pb.Finished | None = None
        """How the choice ended, behind them."""
        self._place = place
        self._apart = apart

    def add(
        self, token: int, said: Said, logprobs: TokenLogprobs | None = None, *, hides: bool = False
    ) -> None:
        """The next token, with what became final by it."""
        stretches = said.stretches
        if len(stretches) > 1:
            self.pieces += (Piece(self._place, stretch=stretch) for stretch in stretches[:-1])
        piece = self._piece(stretches[-1] if stretches else None, new=len(stretches) > 1)
        piece.ids.append(token)
        if logprobs is not None:
            piece.logprobs.append(logprobs)
        piece.hides = hides
        self._place += 1

    def add_plain(self, tokens: Sequence[int], text: str) -> None:
        """Tokens of a choice that says nothing but text."""
        if not self.pieces:
            self.pieces.append(Piece(self._place))
        piece = self.pieces[-1]
        piece.ids.extend(tokens)
        if piece.stretch is None:
            piece.stretch = Stretch(Kind.TEXT)
        piece.stretch.text += text
        self._place += len(tokens)

    def end(self, said: Said) -> None:
        """What became final because no token follows."""
        self.pieces += (Piece(self._place, stretch=stretch) for stretch in said.stretches)

    def _piece(self, stretch: Stretch | None, *, new: bool = False) -> Piece:
        """The piece that the next token belongs to, with what that says."""
        if self.pieces and not new:
            last = self.pieces[-1]
            if last.stretch is None:
                last.stretch = stretch
                return last
            if stretch is None and not self._apart:
                return last
            if stretch is not None and stretch.kind is last.stretch.kind:
                last.stretch.add(stretch)
                return last
        self.pieces.append(Piece(self._place, stretch=stretch))
        return self.pieces[-1]
