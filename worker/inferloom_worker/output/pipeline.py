"""One choice's way from tokens to what is said: token, text, stop strings, parsers, in stages.

Each stage is pushed what the one before passes on, and flushed when nothing follows. Tokens go in one by one,
so the result depends on the tokens and not on the events that brought them.
"""

from collections.abc import Sequence

from inferloom_worker.output.detokenizer import text_stream
from inferloom_worker.output.parsing import Kind, Parser, Said
from inferloom_worker.output.stop_strings import StopMatcher
from inferloom_worker.text.tokenizer import Tokenizer
from inferloom_worker.validate.generate import Stopping


class Pipeline:
    """The stages of one choice. What they pass on is added to the ``said`` that they are given.

    Args:
        tokenizer: Knows the tokens' text.
        stopping: Stop strings, and from which token on they count.
        parsers: The last stages.
        hidden: Tokens that have no text. None: the special ones.
        calls_only: Whether it is calls and nothing else: then it ends with a call behind which another of
            twice the length of its longest would not fit into its tokens, and a call that was cut before its
            name is not said.
    """

    __slots__ = (
        *(
            "_calls",
            "_calls_only",
            "_calls_within",
            "_last",
            "_longest",
            "_min_tokens",
            "_parsers",
            "_stops",
            "_text",
        ),
        *("called", "done", "matched", "parsed", "plain", "reasoning_tokens", "tokens"),
    )

    def __init__(
        self,
        tokenizer: Tokenizer,
        stopping: Stopping,
        parsers: Sequence[Parser] = (),
        *,
        hidden: frozenset[int] | None = None,
        calls_only: bool = False,
    ) -> None:
        self._text = text_stream(tokenizer, hidden)
        self._stops = StopMatcher(stopping.strings, include=stopping.include_stop)
        self._min_tokens = stopping.min_tokens
        self._parsers = parsers
        self.plain = not (stopping.strings or parsers)
        """Whether what is said is the tokens' text, and nothing is held back but half a character."""
        self.parsed = bool(parsers)
        """Whether it may say other things than text."""
        self._calls_only = calls_only
        self._calls_within = stopping.max_tokens if calls_only else None
        self._calls = self._last = self._longest = 0
        """Calls that are complete, the place where the last one ended, and the tokens of the longest."""
        self.tokens = 0
        """Tokens that went in."""
        self.reasoning_tokens = 0
        """Of those, tokens of reasoning."""
        self.done = False
        """Whether all that may be said was: nothing is to be pushed any more."""
        self.called = False
        """Whether a tool call came out."""
        self.matched: str | None = None
        """The stop string that ended the choice; nothing is to be pushed after it."""

    def push(self, token: int, said: Said, *, hidden: bool = False) -> None:
        """The next token; a ``hidden`` one has no text."""
        self.tokens += 1
        if hidden:
            return
        text = self._text.push(token)
        if self.plain:  # most are, and this is done for every token
            said.add_text(text)
        elif text:
            thought = self._thinking
            self._stop_or_say(text, said)
            self.reasoning_tokens += thought and self._thinking
            self.done = any(parser.done for parser in self._parsers) or self._no_room()
        else:
            self.reasoning_tokens += self._thinking

    def push_plain(self, tokens: Sequence[int]) -> str:
        """The same for tokens of which none is hidden, if it is ``plain``: what is said."""
        self.tokens += len(tokens)
        push = self._text.push
        return push(tokens[0]) if len(tokens) == 1 else "".join(map(push, tokens))

    def _no_room(self) -> bool:
        """Whether a call has just ended, and there is no room for another."""
        if (
            self._calls_within is None
            or (calls := sum(parser.calls for parser in self._parsers)) == self._calls
        ):
            return False
        self._longest = max(self._longest, self.tokens - max(self._last, self.reasoning_tokens))
        self._calls, self._last = calls, self.tokens
        return self.tokens + 2 * self._longest > self._calls_within

    @property
    def _thinking(self) -> bool:
        return any(parser.thinking for parser in self._parsers)

    def finish(self, said: Said, *, cut: bool = False) -> None:
        """No token follows, though one would have if it was ``cut``. What was held back may yet complete a
        stop string."""
        self._stop_or_say(self._text.flush(), said)
        if self.matched is None:
            self._say(self._stops.flush(), said)
            self._end(said, cut=cut)

    def _stop_or_say(self, text: str, said: Said) -> None:
        self._say(self._stops.push(text, armed=self.tokens >= self._min_tokens), said)
        self.matched = self._stops.matched
        if self.matched is not None:
            self._end(said)

    def _say(self, text: str, said: Said, first: int = 0) -> None:
        """Pass text on to the parsers from the ``first`` on."""
        if first == len(self._parsers):
            said.add_text(text)
        elif text:
            self._pass(self._parsers[first].push(text), said, first + 1)

    def _end(self, said: Said, *, cut: bool = False) -> None:
        for place, parser in enumerate(self._parsers):
            rest = parser.flush()
            if cut and self._calls_only:  # then its text is what a call would have begun with
                rest.stretches = [each for each in rest.stretches if each.kind is not Kind.TEXT]
            self._pass(rest, said, place + 1)

    def _pass(self, found: Said, said: Said, first: int) -> None:
        """Keep what a parser found, and pass its text on to those from the ``first`` on, in order."""
        if first == len(self._parsers) and not said.stretches:  # as for nearly every token
            said.stretches = found.stretches
            for each in said.stretches:
                self.called = self.called or each.kind is Kind.CALLS
            return
        for each in found.stretches:
            if each.kind is Kind.TEXT:
                self._say(each.text, said, first)
            elif each.kind is Kind.REASONING:
                said.add_reasoning(each.text)
            else:
                self.called = True
                for part in each.calls:
                    said.add_call(part)
