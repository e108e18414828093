"""What the status of a refusal over HTTP means, in the reasons of the contract, and which status a word
stands for: one table each. Pure."""

from inferloom_mesh.errors import Reason

_REASONS = {
    401: Reason.NO_WORKER,
    403: Reason.NO_WORKER,
    404: Reason.NO_WORKER,
    408: Reason.TIMEOUT,
    413: Reason.REQUEST_TOO_LARGE,
    429: Reason.SERVER_OVERLOADED,
    501: Reason.UNSUPPORTED_TASK,
    502: Reason.NO_WORKER,  # a proxy's word for a server that it does not reach
    503: Reason.SERVER_OVERLOADED,
    504: Reason.TIMEOUT,
}

_STATUSES = {
    "badrequesterror": 400,
    "context_length_exceeded": 400,
    "exceed_context_size_error": 400,
    "invalid_request_error": 400,
    "unprocessableentityerror": 422,
    "authentication_error": 401,
    "authenticationerror": 401,
    "permission_error": 403,
    "permissiondeniederror": 403,
    "not_found_error": 404,
    "notfounderror": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "ratelimiterror": 429,
    "not_supported_error": 501,
    "notimplementederror": 501,
    "overloaded_error": 503,
    "serviceunavailableerror": 503,
    "unavailable_error": 503,
}
"""The statuses that OpenAI, vLLM, SGLang and llama-server have for their types and codes of errors."""


def reason_of(status: int) -> Reason:
    """The reason of a status other than 200. One that blames the request is its caller's affair; any other
    that is not listed is the server's own failure with it."""
    listed = _REASONS.get(status)
    if listed is not None:
        return listed
    return Reason.INVALID_ARGUMENT if 400 <= status < 500 else Reason.SERVER_ERROR


def status_of(*words: object) -> int:
    """The status that the first of the words stands for that has one, or is itself; 500 where none does."""
    for word in words:
        if isinstance(word, str):
            word = int(word) if word.isascii() and word.isdigit() else _STATUSES.get(word.lower())
        if isinstance(word, int) and not isinstance(word, bool) and 400 <= word < 600:
            return word
    return 500
