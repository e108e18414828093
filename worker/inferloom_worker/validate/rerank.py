"""Rerank requests."""

from collections.abc import Sequence
from dataclasses import dataclass

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import invalid
from inferloom_mesh.named_fields import named
from inferloom_worker.validate import checks
from inferloom_worker.validate.ranges import check_fields


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingRequest:
    """A Rerank request, valid but for the lengths of its texts, which are known when they are tokenised."""

    request_id: str
    queries: Sequence[str]
    """One for all documents, or one for each."""
    documents: Sequence[str]
    top_n: int
    max_document_tokens: int | None
    """None: all are read."""
    max_tokens: int | None
    """Most tokens of a query and document together. None: the model's."""
    truncate: bool
    activation: bool

    @property
    def each(self) -> bool:
        """Whether each document has a query of its own."""
        return len(self.queries) > 1

    def query_name(self, index: int) -> str:
        """The field that has the query at an index."""
        return f"queries[{index}]" if self.each else "query"

    def limit(self, most: int) -> tuple[int, bool]:
        """How many tokens a model that reads ``most`` reads together, and whether more are cut."""
        if self.max_tokens is None or self.max_tokens > most:
            return most, self.truncate
        return self.max_tokens, True


def read_rerank(request: pb.RerankRequest) -> RankingRequest:
    """Check every field of a request.

    Raises:
        InferloomError: INVALID_ARGUMENT, at the field.
    """
    check_fields(request)
    documents = list(request.documents)
    queries = list(request.queries)
    if queries and request.query:
        raise invalid("queries", f"Only one of {named('query')} and {named('queries')} can be there.")
    if queries and len(queries) != len(documents):
        most = f"{named('documents')}, {len(documents)}, and not {len(queries)}"
        raise invalid("queries", f"queries must be as many as {most}.")
    if not queries and not request.query:
        raise invalid("query", "query must not be empty.")
    return RankingRequest(
        request_id=checks.request_id(request.request_id),
        queries=queries or [request.query],
        documents=documents,
        top_n=min(request.top_n or len(documents), len(documents)),
        max_document_tokens=request.max_document_tokens or None,
        max_tokens=request.max_tokens or None,
        truncate=request.truncate,
        activation=request.activation if request.HasField("activation") else True,
    )
