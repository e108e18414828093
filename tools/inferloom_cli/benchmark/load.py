"""What a load asks for. Pure."""

from dataclasses import dataclass
from typing import Literal

from inferloom_cli.benchmark.prompts import passage, prefix, prompt

Api = Literal["chat", "completions", "embeddings"]

PATHS: dict[Api, str] = {
    "chat": "chat/completions",
    "completions": "completions",
    "embeddings": "embeddings",
}
"""Where each API is, below the base URL."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked for, and by how many at once."""

    model: str
    api: Api = "chat"
    clients: int = 1
    requests: int | None = None
    """In all. None: two for each client, and at least three."""
    tokens: int = 128
    """Output tokens of each request, at most."""
    prompt_tokens: int | None = None
    """About how long each prompt is. None: a short one."""
    shared_prefix: int = 0
    """About how many tokens of system prompt all requests share."""
    batch: int = 1
    """Texts in each embedding request."""
    temperature: float = 0.0
    ignore_eos: bool = False
    """Whether to ask for exactly ``tokens`` tokens, which not every server understands."""
    keep_alive: bool = True
    """Whether a client keeps its connection from request to request, as the OpenAI SDK does."""
    first: int = 0
    """Number of the first prompt; prompts with the same number are the same text."""
    timeout: float = 600.0
    """How long one request may take, in seconds."""

    @property
    def total(self) -> int:
        """Requests in all."""
        return self.requests or max(2 * self.clients, 3)

    def body(self, number: int) -> dict[str, object]:
        """The JSON of request ``number``, counted from :attr:`first`."""
        number += self.first
        if self.api == "embeddings":
            texts = [passage(number * self.batch + at) for at in range(self.batch)]
            return {"model": self.model, "input": texts}
        text = prompt(number, self.prompt_tokens)
        standing = prefix(self.shared_prefix) if self.shared_prefix else ""
        body: dict[str, object] = {
            "model": self.model,
            "max_tokens": self.tokens,
            "temperature": self.temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self.ignore_eos:
            body["ignore_eos"] = True
        if self.api == "completions":
            return body | {"prompt": f"{standing}\n\n{text}" if standing else text}
        system = [{"role": "system", "content": standing}] if standing else []
        return body | {"messages": [*system, {"role": "user", "content": text}]}
