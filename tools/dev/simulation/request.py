"""A simulated request."""

BLOCK = 64
"""Tokens of a block, which is the unit of prompts and caches."""


class Request:
    """One turn. Blocks are numbers that stand for all tokens up to their end, as keys of prefix caches do."""

    __slots__ = (
        "at",
        "began",
        "blocks",
        "cached",
        "conversation",
        "counted",
        "finish",
        "first",
        "gateway",
        "output",
        "own",
        "shared",
        "turn",
        "turns",
        "worker",
    )

    def __init__(self, at: float, shared: int, own: int, blocks: list[int], output: int, turns: int) -> None:
        self.at = at
        """When it arrives, in seconds."""
        self.shared = shared
        """Key of what it has in common with others; 0: nothing."""
        self.own = own
        """Key of its conversation."""
        self.blocks = blocks
        """Its prompt."""
        self.output = output
        """Tokens that are generated."""
        self.turns = turns
        """Turns of the conversation that follow."""
        self.turn = 0
        """Turns that were before it."""
        self.conversation = 0
        self.gateway = 0
        self.worker = 0
        self.cached = 0
        """Blocks that its worker had."""
        self.began = 0.0
        """When its worker began to read it."""
        self.first = 0.0
        """When its first token comes."""
        self.finish = 0.0
        self.counted = 0
        """Tokens that its gateway has counted."""
