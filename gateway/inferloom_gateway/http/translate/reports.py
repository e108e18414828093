"""What a stream tells in its chunks besides text."""

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.translate.usage import completion_usage
from inferloom_mesh.light_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reports:
    """What was asked for."""

    usage: bool = False
    """Whether a stream ends with a chunk of usage."""
    running_usage: bool = False
    """Whether each chunk tells the usage so far."""
    token_ids: bool = False
    """Whether token ids are told, those of the prompt and those of the completion."""
    tokens_as_ids: bool = False
    """Whether log-probabilities name tokens by their ids."""

    @property
    def plain(self) -> bool:
        """Whether chunks of text differ in nothing but the text."""
        return not (self.running_usage or self.token_ids)


class Running:
    """The usage so far of a generation that is streamed."""

    def __init__(self) -> None:
        self._prompt = self._completion = 0

    def begin(self, prompt_tokens: int) -> None:
        """Note the length of the prompt."""
        self._prompt = prompt_tokens

    def add(self, tokens: int) -> None:
        """Note tokens that were generated."""
        self._completion += tokens

    def usage(self) -> dict[str, object]:
        """What was used until now."""
        return completion_usage(pb.Usage(prompt_tokens=self._prompt, completion_tokens=self._completion))
