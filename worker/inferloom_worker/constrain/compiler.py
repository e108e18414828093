"""From a grammar to a constraint for one model's tokens, bounded in time and memory."""

import logging
import threading
import time
from dataclasses import dataclass
from functools import partial

from llguidance import LLMatcher

from inferloom_mesh.errors import invalid
from inferloom_worker.constrain.closing import Closers, Way
from inferloom_worker.constrain.grammar import Ending, Grammar, Kind
from inferloom_worker.constrain.kept import Kept
from inferloom_worker.constrain.matcher import Beginning, CompiledGrammar, Ends, mask_of
from inferloom_worker.constrain.refusal import why_refused
from inferloom_worker.constrain.small import is_small
from inferloom_worker.constrain.source import source
from inferloom_worker.constrain.trial import attempt
from inferloom_worker.constrain.trials import Trials, Verdict
from inferloom_worker.constrain.vocabulary import Vocabulary, vocabulary
from inferloom_worker.engine.constraint import PortableConstraint
from inferloom_worker.text.tokenizer import Tokenizer

MOST_KEPT = 128
"""Grammars whose compiled form is kept for the next request."""

MOST_KEPT_BYTES = 256 * 2**20
"""Memory that they may take together, as far as it is known when they are compiled."""

MOST_REFUSED = 1024
MOST_REFUSED_BYTES = 8 * 2**20
"""Grammars of which it is known that they are refused, and the memory of their texts."""

REFUSED_S = 60.0
"""How long they are refused without another trial: what ended that may have been the machine's doing."""

_BYTES_PER_CHARACTER = 512
"""What a grammar that nobody measured is taken for: about what schemas take."""

_COPIED_PER_CHARACTER = 64
"""What a choice's copy of it is taken for at least: it grows while the choice goes on."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Compiled:
    beginning: Beginning
    text: str
    notes: tuple[str, ...]


class GrammarCompiler:
    """The :class:`~inferloom_worker.constrain.grammar.Grammars` of one model. It keeps the last ones.

    Args:
        tokenizer: The model's.
        width: Its logits.
        tried: Whether all grammars were compiled elsewhere before, so that they are known to be harmless.
    """

    def __init__(self, tokenizer: Tokenizer, width: int, *, tried: bool = False) -> None:
        self._tokenizer = tokenizer
        self._width = width
        self._harmless = tried
        self._lock = threading.Lock()
        self._vocabulary: Vocabulary | None = None
        self._trials: Trials | None = None
        self._closed = False
        self._closers: Closers | None = None
        self._kept: Kept[tuple[Kind, str], _Compiled] = Kept(MOST_KEPT, MOST_KEPT_BYTES)
        self._refused: Kept[str, tuple[Verdict, float]] = Kept(MOST_REFUSED, MOST_REFUSED_BYTES)

    def prepare(self) -> None:
        try:
            threading.Thread(target=self._prepare, name="grammars", daemon=True).start()
        except RuntimeError:  # the system has no thread for it now
            log.warning("grammars are made ready when they are first asked for", exc_info=True)

    def close(self) -> None:
        with self._lock:
            self._closed, trials = True, self._trials
        if trials is not None:
            trials.close()

    def compile(
        self,
        grammar: Grammar,
        *,
        stops: frozenset[int] = frozenset(),
        ignores_ends: bool = False,
        ending: Ending | None = None,
    ) -> CompiledGrammar:
        known = self._known()
        made = self._compiled(grammar, known)
        others = stops & self._tokenizer.special_ids - known.ends
        ends = Ends(
            own=mask_of(known.ends, known.width),
            asked=mask_of(others, known.width) if others else None,
            ignored=ignores_ends,
        )
        way = None if ending is None else partial(Way, self._closing(known), ending, made.beginning.start)
        portable = PortableConstraint(made.text, tuple(sorted(stops)), ignores_ends)
        return CompiledGrammar(made.beginning, known, ends, portable, made.notes, way)

    def _prepare(self) -> None:
        """Make the vocabulary, here and in the process that tries grammars: together most of a second."""
        try:
            trials = self._tried(self._known())
            trials.begin()
            if self._closed:
                trials.close()
        except BaseException:  # the library panics, too; nobody has asked yet, and who does is told
            log.warning("grammars are made ready when they are first asked for", exc_info=True)

    def _closing(self, known: Vocabulary) -> Closers:
        """The tokens that end what is open, found out when they are first asked for."""
        with self._lock:
            if self._closers is None:
                size = min(known.tokens.vocab_size, self._tokenizer.vocab_size)
                hidden = known.tokens.is_special_token
                spelled = [b"" if hidden(i) else self._tokenizer.token_bytes(i) for i in range(size)]
                self._closers = Closers(known.tokens, spelled)
            return self._closers

    def _known(self) -> Vocabulary:
        """The vocabulary, made once."""
        with self._lock:
            if self._vocabulary is None:
                self._vocabulary = vocabulary(self._tokenizer, self._width)
            return self._vocabulary

    def _compiled(self, grammar: Grammar, known: Vocabulary) -> _Compiled:
        key = grammar.kind, grammar.text
        if (kept := self._kept.get(key)) is not None:
            return kept
        asked = source(grammar, closes=True)
        start, verdict = self._attempt(grammar.kind, asked.text, known)
        # Closed, it may have nothing left.
        if verdict.refusal and (open_ := source(grammar)).text != asked.text:
            asked = open_
            start, verdict = self._attempt(grammar.kind, asked.text, known)
        if start is None:
            raise invalid(grammar.param, why_refused(grammar.param, verdict.refusal))
        made = _Compiled(Beginning.of(start, known, verdict.copied), asked.text, asked.notes)
        self._kept.put(key, made, verdict.bytes)
        return made

    def _attempt(self, kind: Kind, text: str, known: Vocabulary) -> tuple[LLMatcher | None, Verdict]:
        """A grammar at its beginning, or why it is refused."""
        refused = self._refused.get(text)
        if refused is not None and time.monotonic() < refused[1]:
            return None, refused[0]
        harmless = self._harmless or is_small(kind, text)
        verdict = Verdict("") if harmless else self._tried(known).verdict(text)
        start: LLMatcher | None = None
        if not verdict.refusal:
            start, why = attempt(known.tokens, text)
            size = max(verdict.bytes, len(text) * _BYTES_PER_CHARACTER)
            verdict = Verdict(why, size, max(verdict.copied, len(text) * _COPIED_PER_CHARACTER))
        if not verdict.refusal:
            return start, verdict
        self._refused.put(text, (verdict, time.monotonic() + REFUSED_S), len(text) + len(verdict.refusal))
        return None, verdict

    def _tried(self, known: Vocabulary) -> Trials:
        with self._lock:
            if self._trials is None:
                self._trials = Trials(known.maker)
            return self._trials
