"""What happened in the mesh, in a sentence. Pure."""

from inferloom.v1 import gateway_pb2 as pb

K = pb.HappeningKind

CAUSES = {
    "disconnected": "the connection broke",
    "broken": "its answer broke off",
    "stalled": "it fell silent",
    "lease_expired": "its lease ran out",
    "computes_differently": "it computes differently",
    "not_let_in": "it takes no calls of this gateway",
    "worker_lost": "it was lost",
    "request_barred": "workers were lost with it",
    "no_worker": "it drains or loads",
    "server_overloaded": "it is full",
    "server_error": "it failed",
    "timeout": "the time was over",
    "failures": "its calls fail",
    "slow": "it is much slower than its peers",
    "expired": "its lease was not renewed",
    "given_back": "its lease was given back",
}
"""What a word of the contract means. What is not here is shown as it is."""

TROUBLE = frozenset(
    {
        pb.HAPPENING_KIND_LEASE_SUSPECT,
        pb.HAPPENING_KIND_WORKER_UNREACHABLE,
        pb.HAPPENING_KIND_WORKER_EJECTED,
        pb.HAPPENING_KIND_REQUEST_FAILED,
        pb.HAPPENING_KIND_REGISTRY_LOST,
        pb.HAPPENING_KIND_REGISTRY_FROZEN,
    }
)
"""What an operator should look at."""

CARE = frozenset(
    {
        pb.HAPPENING_KIND_WORKER_LEFT,
        pb.HAPPENING_KIND_WORKER_DRAINING,
        pb.HAPPENING_KIND_REQUEST_MOVED,
        pb.HAPPENING_KIND_REQUEST_RETRIED,
    }
)
"""What may explain something."""


def cause(word: str) -> str:
    """What a word means."""
    return CAUSES.get(word, word.replace("_", " "))


def sentence(one: pb.Happening) -> str:
    """A happening, without its time."""
    worker, model = one.worker, f" of {one.model}" if one.model else ""
    why = f": {cause(one.reason)}" if one.reason else ""
    what = f"{one.count} requests{model}" if one.count > 1 else _request(one, model)
    held = f" with {one.tokens} tokens" if one.tokens else ""
    match one.kind:
        case K.HAPPENING_KIND_WORKER_CAME:
            return f"{worker} registered"
        case K.HAPPENING_KIND_WORKER_LEFT:
            return f"{worker} left{why}"
        case K.HAPPENING_KIND_WORKER_READY:
            return f"{worker} takes requests"
        case K.HAPPENING_KIND_WORKER_DRAINING:
            return f"{worker} drains"
        case K.HAPPENING_KIND_LEASE_SUSPECT:
            return f"{worker} did not renew its lease in time"
        case K.HAPPENING_KIND_LEASE_GOOD:
            return f"{worker} renewed its lease"
        case K.HAPPENING_KIND_WORKER_UNREACHABLE:
            return f"{worker} cannot be reached{_by(one)}"
        case K.HAPPENING_KIND_WORKER_REACHABLE:
            return f"{worker} answers again{_by(one)}"
        case K.HAPPENING_KIND_WORKER_EJECTED:
            return f"{_what(one)} is left alone for a while{_by(one)}{why}"
        case K.HAPPENING_KIND_WORKER_BACK:
            return f"{_what(one)} gets requests again{_by(one)}"
        case K.HAPPENING_KIND_MODEL_CAME:
            return f"{worker} serves {one.model}"
        case K.HAPPENING_KIND_MODEL_LEFT:
            return f"{worker} serves {one.model} no more"
        case K.HAPPENING_KIND_REQUEST_MOVED:
            return f"{what} moved from {worker or '?'} to {one.to_worker}{held}{why}"
        case K.HAPPENING_KIND_REQUEST_RETRIED:
            return f"{what} tried again: {worker} → {one.to_worker}{why}"
        case K.HAPPENING_KIND_REQUEST_FAILED:
            at = f" at {worker}" if worker else ""
            return f"{what} failed{at}{why}"
        case K.HAPPENING_KIND_REGISTRY_LOST:
            return f"{one.gateway} lost its registry{f' {one.reason}' if one.reason else ''}"
        case K.HAPPENING_KIND_REGISTRY_BACK:
            return f"{one.gateway} follows the registry {one.reason}"
        case K.HAPPENING_KIND_REGISTRY_FROZEN:
            return "the registry lost its store: the workers stay as they are"
        case K.HAPPENING_KIND_REGISTRY_THAWED:
            return "the registry has its store again"
    return K.Name(one.kind) if one.kind in K.values() else f"something of kind {one.kind}"


def _request(one: pb.Happening, model: str) -> str:
    return f"request {one.request_id}{model}" if one.request_id else f"a request{model}"


def _what(one: pb.Happening) -> str:
    return f"{one.model} at {one.worker}" if one.model else one.worker


def _by(one: pb.Happening) -> str:
    return f" from {one.gateway}" if one.gateway else ""
