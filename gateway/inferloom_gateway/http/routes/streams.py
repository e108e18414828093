"""GET /v1/streams/{id}: streams that outlive their connections."""

from fastapi import APIRouter, Request, Response

from inferloom_gateway.http.routes.shared import ERRORS, answers
from inferloom_gateway.http.schema.completion_answers import ChatCompletionChunk
from inferloom_gateway.http.streams.answer import resume

router = APIRouter(tags=["streams"], responses=ERRORS)


@router.get("/v1/streams/{stream_id}", responses=answers(ChatCompletionChunk, ChatCompletionChunk))
async def resume_stream(request: Request, stream_id: str) -> Response:
    """Go on with a stream that was asked for with ``x-inferloom-resumable``, behind the event that the header
    ``Last-Event-ID`` names; without it from the beginning."""
    return resume(request, stream_id)
