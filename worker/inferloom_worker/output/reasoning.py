"""Reasoning before an answer, between two marks."""

from dataclasses import dataclass

from inferloom_worker.output.parsing import Said, begun


@dataclass(frozen=True, slots=True)
class ReasoningMarks:
    """How a family of models marks reasoning."""

    name: str
    begin: str
    end: str
    tokens: tuple[str, ...] = ()
    """What of the marks may be special tokens of a vocabulary, where that is not each as a whole."""
    after: str = ""
    """What stands behind the last mark."""
    answer: str = ""
    """What begins the answer that follows."""

    @property
    def marks(self) -> tuple[str, ...]:
        """What may be special tokens."""
        return self.tokens or (self.begin, self.end)


FORMATS = (
    ReasoningMarks("think", "<think>", "</think>"),
    ReasoningMarks("brackets", "[THINK]", "[/THINK]"),
    ReasoningMarks("channel", "<|channel>thought\n", "<channel|>", ("<|channel>", "<channel|>")),
    ReasoningMarks(
        "harmony",
        "<|channel|>analysis<|message|>",
        "<|end|>",
        ("<|start|>", "<|channel|>", "<|message|>", "<|end|>"),
        after="<|start|>assistant",
        answer="<|channel|>final<|message|>",
    ),
    ReasoningMarks("seed", "<seed:think>", "</seed:think>"),
    ReasoningMarks("thinking", "<|START_THINKING|>", "<|END_THINKING|>"),
    ReasoningMarks("reasoning", "<reasoning>", "</reasoning>"),
)
"""What is known: DeepSeek-R1, Qwen3 and many others; Magistral; Gemma 4; gpt-oss; Seed-OSS;
Command A; others."""

BY_NAME = {each.name: each for each in FORMATS}


def find_reasoning(template: str) -> ReasoningMarks | None:
    """The format whose marks a chat template has. None: it has none."""
    found = (
        each
        for each in FORMATS
        if each.begin.strip() in template or (each.end in template and not each.after)
    )
    return next(found, None)


class ReasoningReader:
    """Tells the reasoning at an answer's beginning from the rest. A
    :class:`~inferloom_worker.output.parsing.Parser`.

    Marks later on are text, and so are empty lines but those next to the marks.

    Args:
        marks: What stands around it.
        opened: Whether the prompt ends with the first mark.
    """

    def __init__(self, marks: ReasoningMarks, *, opened: bool) -> None:
        self._marks = marks
        self._held = ""
        self._state = _REASONING if opened else _BEFORE
        self._fresh = True
        """Whether nothing was said since the last mark."""

    done = False
    calls = 0

    @property
    def thinking(self) -> bool:
        """Whether the text so far ends in reasoning."""
        return self._state == _REASONING

    def push(self, text: str) -> Said:
        """What became final with more text."""
        said = Said()
        self._held += text
        if self._state == _BEFORE:
            self._look()
        if self._state == _REASONING:
            self._reason(said)
        if self._state == _ANSWER:
            self._answer(said)
        return said

    def flush(self) -> Said:
        """The rest."""
        said, held, self._held = Said(), self._held, ""
        if self._state == _REASONING:
            said.add_reasoning(held.rstrip("\n"))
        else:
            said.add_text(held)
        return said

    def _look(self) -> None:
        begin = self._marks.begin
        start = self._held.lstrip()
        if start.startswith(begin):
            self._state, self._held = _REASONING, start[len(begin) :]
        elif not begin.startswith(start):
            self._state, self._fresh = _ANSWER, False

    def _reason(self, said: Said) -> None:
        if self._fresh:
            self._held = self._held.lstrip("\n")
        place = self._held.find(self._marks.end)
        if place >= 0:
            said.add_reasoning(self._held[:place].rstrip("\n"))
            self._held = self._held[place + len(self._marks.end) :]
            self._state, self._fresh = _ANSWER, True
            return
        sure = len(self._held) - begun(self._held, 0, (self._marks.end,))
        sure = len(self._held[:sure].rstrip("\n"))
        said.add_reasoning(self._held[:sure])
        self._held = self._held[sure:]
        self._fresh = self._fresh and not sure

    def _answer(self, said: Said) -> None:
        text = self._held.lstrip("\n") if self._fresh else self._held
        self._fresh = self._fresh and not text
        said.add_text(text)
        self._held = ""


_BEFORE, _REASONING, _ANSWER = range(3)
