"""What an answer is expected to be like."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, StringConstraints

from inferloom_gateway.http.schema.base import Part, text_parts

Predicted = Annotated[str, StringConstraints(max_length=2**20)]


class PredictedPart(Part):
    """One part of a text that is expected."""

    type: Literal["text"]
    text: Predicted


class Prediction(Part):
    """A text that the answer is expected to be much like."""

    type: Literal["content"]
    content: Annotated[
        list[PredictedPart],
        BeforeValidator(text_parts, json_schema_input_type=Predicted | list[PredictedPart]),
    ]
