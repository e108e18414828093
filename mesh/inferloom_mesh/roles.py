"""Who may make which call: the one table of roles and methods."""

from enum import StrEnum


class Role(StrEnum):
    """What a certificate says that its holder is."""

    REGISTRY = "registry"
    WORKER = "worker"
    GATEWAY = "gateway"
    OPERATOR = "operator"
    """A person, or what acts for one: the command line."""

    @property
    def server_name(self) -> str:
        """The DNS name that a certificate of this role also has. Callers inside of the mesh ask for it in the
        place of a host's name, so that a part may have any address, and only a part of that role answers."""
        return f"{self.value}.inferloom.internal"


_ASKS = frozenset({Role.GATEWAY, Role.OPERATOR})
_OPERATES = frozenset({Role.OPERATOR})
_JOINS = frozenset({Role.WORKER})

_REGISTRY = "/inferloom.v1.RegistryService/"
_WORKER = "/inferloom.v1.WorkerService/"
_INFERENCE = "/inferloom.v1.InferenceService/"
_GATEWAY = "/inferloom.v1.GatewayService/"

GRANTS: dict[str, frozenset[Role]] = {
    _REGISTRY + "Register": _JOINS,
    _REGISTRY + "KeepAlive": _JOINS,
    _REGISTRY + "Deregister": _JOINS,
    _REGISTRY + "Join": _JOINS,
    _REGISTRY + "Watch": frozenset({Role.GATEWAY, Role.OPERATOR, Role.REGISTRY}),
    _REGISTRY + "ListWorkers": frozenset({Role.GATEWAY, Role.OPERATOR, Role.REGISTRY}),
    _REGISTRY + "AnnounceGateway": frozenset({Role.GATEWAY}),
    _REGISTRY + "ListGateways": _ASKS,
    _WORKER + "GetStatus": _ASKS,
    _WORKER + "Drain": _OPERATES,
    _WORKER + "LoadModel": _OPERATES,
    _WORKER + "UnloadModel": _OPERATES,
    _WORKER + "LoadAdapter": _OPERATES,
    _WORKER + "UnloadAdapter": _OPERATES,
    "/inferloom.v1.LinkService/Attach": frozenset({Role.GATEWAY}),
    _INFERENCE + "Generate": _ASKS,
    _INFERENCE + "ContinueGenerate": _ASKS,
    _INFERENCE + "Embed": _ASKS,
    _INFERENCE + "Rerank": _ASKS,
    _INFERENCE + "Tokenize": _ASKS,
    _INFERENCE + "Detokenize": _ASKS,
    _INFERENCE + "GetTokenizer": _ASKS,
    _INFERENCE + "ListModels": _ASKS,
    _GATEWAY + "GetMesh": _ASKS,
    _GATEWAY + "WatchMesh": _ASKS,
    _GATEWAY + "ListRequests": _ASKS,
    _GATEWAY + "GetRequest": _ASKS,
}
"""The roles that may call each method, ``/service/method``, of a service inside of the mesh. What is not here
may be called by nobody; health and reflection are everybody's."""

SHOWS_A_TOKEN = frozenset({_REGISTRY + "Join"})
"""What may be called without a certificate, because a token in the request says who calls."""

TELLS_OF_TENANTS = frozenset({Role.GATEWAY})
"""Whose word a worker takes for a tenant, a priority cap and a share."""


def may_call(role: Role, method: str) -> bool:
    """Whether a holder of ``role`` may call ``method``."""
    return role in GRANTS.get(method, frozenset())
