"""What a server says of one choice, in the contract's order. Pure."""

from collections.abc import Iterator

from inferloom_worker.engines.sidecar.sse import MalformedError
from inferloom_worker.hosting.sidecar.tool_calls import Arguments
from inferloom_worker.output.parsing import Kind, Said, Stretch

MOST_WAITING = 2**18
"""Characters that wait for a call to be whole."""


class Order:
    """Nothing comes between the parts of a call: what a server says before the call is whole waits for that,
    or for the answer's end. Some servers say no arguments at all of a function without parameters: such a
    call is whole when, by the end of a chunk, something is said behind it."""

    def __init__(self) -> None:
        self._open: int | None = None
        """The call that was told of last, if nothing was told behind it."""
        self._arguments = Arguments()
        """Its arguments."""
        self._waiting: list[Stretch] = []
        """In the order in which they began, each call by itself."""

    def take(self, said: Said) -> Said:
        """What may be told, now that the server says this.

        Raises:
            MalformedError: A call goes on behind what followed it, or too much waits.
        """
        if self._open is None and all(each.kind is not Kind.CALLS for each in said.stretches):
            return said
        told = Said()
        for one in _single(said):
            if self._is_late(one):
                if one.calls[0].arguments.strip():
                    raise MalformedError("a tool call that goes on behind what followed it")
                continue
            if _call(one) == self._open or not (self._waiting or self._is_amid()):
                self._tell(one, told)
            else:
                self._wait(one)
            while self._waiting and not self._is_amid():
                self._tell(self._waiting.pop(0), told)
        while self._waiting and not (self._is_amid() and self._may_go_on()):
            self._tell(self._waiting.pop(0), told)
        if sum(map(_size, self._waiting)) > MOST_WAITING:
            raise MalformedError(f"over {MOST_WAITING} characters amid a tool call")
        return told

    def rest(self) -> Said:
        """What still waits, when nothing follows."""
        told = Said()
        while self._waiting:
            self._tell(self._waiting.pop(0), told)
        return told

    def _is_late(self, one: Stretch) -> bool:
        """Whether it goes on with a call behind which something was told."""
        call = _call(one)
        return (
            call not in (None, self._open)
            and not one.calls[0].name
            and all(_call(each) != call for each in self._waiting)
        )

    def _is_amid(self) -> bool:
        """Whether a call is not whole yet."""
        return self._open is not None and not self._arguments.are_whole

    def _may_go_on(self) -> bool:
        """Whether the call that is not whole has begun to say something, or nothing was said behind it."""
        return self._arguments.are_open or not any(map(_says, self._waiting))

    def _wait(self, one: Stretch) -> None:
        # More of a call belongs to the call, wherever that waits.
        for each in self._waiting if _call(one) is not None else self._waiting[-1:]:
            if each.kind is one.kind and _call(each) == _call(one):
                each.add(one)
                return
        self._waiting.append(one)

    def _tell(self, one: Stretch, told: Said) -> None:
        call = _call(one)
        if call != self._open:
            self._open, self._arguments = call, Arguments()
        if one.kind is Kind.TEXT:
            told.add_text(one.text)
        elif one.kind is Kind.REASONING:
            told.add_reasoning(one.text)
        for part in one.calls:
            told.add_call(part)
            self._arguments.add(part.arguments)


def _single(said: Said) -> Iterator[Stretch]:
    """The stretches, each part of a call by itself."""
    for stretch in said.stretches:
        if stretch.kind is Kind.CALLS:
            yield from (Stretch(Kind.CALLS, calls=[part]) for part in stretch.calls)
        else:
            yield stretch


def _call(one: Stretch) -> int | None:
    """The call that it is a part of. None: it is of none."""
    return one.calls[0].index if one.kind is Kind.CALLS else None


def _says(one: Stretch) -> bool:
    return bool(one.text.strip()) or any(part.arguments.strip() for part in one.calls)


def _size(one: Stretch) -> int:
    return len(one.text) + sum(len(part.arguments) for part in one.calls)
