"""More of one choice that is nothing but tokens and text, as nearly all of a stream is."""

from collections.abc import Sequence

from inferloom.v1 import inference_pb2 as pb


class Tokens:
    """What a Delta of the contract says that has only tokens and text, without the cost of a message.

    Args:
        choice: Index of the choice.
        index: Position of the first token in the choice.
        ids: The tokens.
        text: What became final.
    """

    __slots__ = ("choice", "ids", "index", "text")

    def __init__(self, choice: int, index: int, ids: Sequence[int], text: str) -> None:
        self.choice = choice
        self.index = index
        self.ids = ids
        self.text = text

    def event(self) -> pb.GenerateResponse:
        """The same as an event of the contract."""
        event = pb.GenerateResponse()  # set in place: a Delta that is handed over is copied
        delta = event.delta
        delta.choice = self.choice
        delta.token_index = self.index
        delta.token_ids.extend(self.ids)
        delta.text = self.text
        return event
