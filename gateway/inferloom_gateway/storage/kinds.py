"""What is kept as documents, and how each kind is told apart."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of stored thing."""

    name: str
    prefix: str
    """What its ids begin with, such as ``file-``."""
    noun: str
    """What it is called when there is none: ``file``."""
    evicts: bool = False
    """Whether a tenant's oldest give way where it has as many as it may; otherwise a new one is refused."""


FILES = Kind("file", "file-", "file")
BATCHES = Kind("batch", "batch_", "batch")
CHAT_COMPLETIONS = Kind("chat.completion", "chatcmpl-", "chat completion", evicts=True)
RESPONSES = Kind("response", "resp_", "response", evicts=True)
