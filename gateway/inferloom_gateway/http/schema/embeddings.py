"""The body of POST /v1/embeddings."""

from typing import Literal

from inferloom_gateway.http.schema.base import Body, ModelId, Positive
from inferloom_gateway.http.schema.prompts import EmbeddingInputs


class EmbeddingRequest(Body):
    """Texts, or token sequences, to embed."""

    endpoint = "embeddings"

    model: ModelId
    input: EmbeddingInputs
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Positive | None = None
    normalize: bool | None = None
    truncate: bool | None = None
    truncate_prompt_tokens: Literal[-1] | None = None


class EngineEmbeddingRequest(EmbeddingRequest):
    """The same where the path names the model, and the body need not."""

    model: ModelId | None = None  # type: ignore[assignment] # wider on purpose

    def of(self, model: str) -> EmbeddingRequest:
        """The request with the path's model, unless the body names one."""
        return self.model_copy(update={"model": self.model or model})
