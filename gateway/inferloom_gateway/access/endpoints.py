"""Names of endpoints, as keys are scoped to them. Pure."""

from fnmatch import fnmatchcase

OPEN = frozenset({"/health", "/health/live", "/health/ready", "/ping", "/grpc.health.v1.Health/Check"})
"""Paths that answer without a key. Nothing else does but the console's page, see :func:`is_open`."""

_PAGE, _DATA = "/console", "/console/data"

NAMED_ONLY = ("metrics", "console", "keys", "operating")
"""Endpoints that only a key opens which names them: they tell of all tenants. ``console`` is what the console
shows, ``keys`` its part that makes and revokes keys and changes limits, ``operating`` every service of the
contract but the inference service, where a gateway offers some."""

_KEEPING = ("files", "batches", "models", "streams", "console", "keys")
"""Endpoints whose requests are not computed at once, and so count for no limit of requests."""

_NAMED = ("/v1/responses", "/v1/chat/completions")
"""Below them are answers that are kept, each by its name, of which nothing is computed any more."""

_COUNTING = "/v1/responses/input_tokens"
"""But this, which is no name."""

_SERVICE = "/inferloom.v1.InferenceService/"

_PATHS = (
    ("/v1/chat/completions", "chat"),
    ("/v1/completions", "completions"),
    ("/v1/embeddings", "embeddings"),
    ("/v1/engines", "embeddings"),
    ("/v1/models", "models"),
    ("/v1/responses", "responses"),
    ("/v1/streams", "streams"),
    ("/v1/edits", "edits"),
    ("/v1/rerank", "rerank"),
    ("/v2/rerank", "rerank"),
    ("/rerank", "rerank"),
    ("/v1/score", "score"),
    ("/score", "score"),
    ("/v1/files", "files"),
    ("/v1/batches", "batches"),
    ("/tokenize", "tokenize"),
    ("/detokenize", "tokenize"),
    ("/tokenizer_info", "tokenize"),
    ("/metrics", "metrics"),
    (f"{_DATA}/keys", "keys"),
    (_DATA, "console"),
)
"""What begins so, is that endpoint; the first that fits."""

_METHODS = {
    "Generate": "",
    "ContinueGenerate": "streams",
    "Embed": "embeddings",
    "Rerank": "rerank",
    "Tokenize": "tokenize",
    "Detokenize": "tokenize",
    "GetTokenizer": "tokenize",
    "ListModels": "models",
}

NAMES = (*dict.fromkeys(name for _, name in _PATHS), "operating")
"""All that a key can be scoped to."""


def is_open(path: str) -> bool:
    """Whether a path over HTTP answers without a key: those of health, and the console's page, which shows
    nothing without its data."""
    return path in OPEN or path == _PAGE or (_below(path, _PAGE) and not _below(f"{path}/", _DATA))


def of_path(path: str) -> str:
    """The endpoint of a path over HTTP; empty for pages that belong to none, such as ``/docs``."""
    for beginning, name in _PATHS:
        if path == beginning or _below(path, beginning):
            return name
    if path.startswith("/inferloom.v1."):
        return of_method(path)
    return ""


def computes(method: str, path: str) -> bool:
    """Whether a request over HTTP asks workers for something, and so counts for limits of requests."""
    if method != "POST" or of_path(path) in _KEEPING:
        return False
    return path == _COUNTING or not any(_below(path, each) for each in _NAMED)


def of_method(method: str) -> str:
    """The endpoint of a gRPC method such as ``/inferloom.v1.InferenceService/Embed``; the method's own name
    where it has no counterpart over HTTP. Empty for Generate: what it is asked for says whether that is
    chat."""
    if not method.startswith(_SERVICE):
        return "operating"
    name = method.removeprefix(_SERVICE)
    return _METHODS.get(name, name)


def opened(endpoint: str, scopes: tuple[str, ...]) -> bool:
    """Whether a key with these scopes opens an endpoint."""
    if not scopes:
        return endpoint not in NAMED_ONLY
    if endpoint in NAMED_ONLY:
        return endpoint in scopes
    return not endpoint or any(fnmatchcase(endpoint, scope) for scope in scopes)


def _below(path: str, beginning: str) -> bool:
    return path.startswith(f"{beginning}/")
