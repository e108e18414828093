"""How tokens are drawn."""

from collections.abc import Mapping
from dataclasses import field

from inferloom_mesh.light_dataclasses import dataclass

LEAST_TEMPERATURE = 1e-5
"""Below it the likeliest token is taken: what a draw computes there leaves the numbers that there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn; every field is in the range that the contract documents."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int = 0

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return not self.temperature >= LEAST_TEMPERATURE or self.top_k == 1
