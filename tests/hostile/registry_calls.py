"""The registry: what says that it is a worker, and what asks about workers."""

from google.protobuf.duration_pb2 import Duration

from inferloom.v1 import inference_pb2
from inferloom.v1 import registry_pb2 as pb
from tests.hostile.cases import RpcCase, field
from tests.hostile.messages import INF, NAN, register, worker

REGISTER, KEEP, GIVE, WATCH, LIST = (
    f"RegistryService/{name}" for name in ("Register", "KeepAlive", "Deregister", "Watch", "ListWorkers")
)
INVALID = ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
DENIED = ("PERMISSION_DENIED", "PERMISSION_DENIED")
NO_MESSAGE = "not a valid message"


def wrong(name: str, request: object, words: str, kind: tuple[str, str] = INVALID) -> RpcCase:
    """A registration that is refused."""
    return RpcCase(name, REGISTER, request, *kind, words)


def at(name: str, address: str, words: str = "worker.address", kind: tuple[str, str] = INVALID) -> RpcCase:
    """A registration from an address that nobody should be sent to."""
    return wrong(name, register(address=address), words, kind)


def timed(seconds: int, nanos: int = 0) -> pb.RegisterRequest:
    """A registration for so long."""
    return pb.RegisterRequest(worker=worker(), ttl=Duration(seconds=seconds, nanos=nanos))


def kept(name: str, words: str, **fields: object) -> RpcCase:
    """A renewal that is refused."""
    given = {"lease_id": "l", "epoch": 1, **fields}
    request = pb.KeepAliveRequest(**given)  # type: ignore[arg-type] # of many types
    return RpcCase(name, KEEP, (request,), *INVALID, words)


def models(*names: str) -> list[inference_pb2.Model]:
    """Cards of models."""
    return [inference_pb2.Model(id=name) for name in names]


REGISTRY = (
    wrong("no worker", pb.RegisterRequest(), "worker.id"),
    wrong("bytes that are no registration", b"\x0a\xff", NO_MESSAGE),
    wrong("a worker that is a number", b"\x08\x01", "worker.id"),
    wrong("a name that is no UTF-8", field(1, field(1, b"\xff\xfe")), NO_MESSAGE),
    wrong("a name with a line break", register(id="w\nx"), "worker.id"),
    wrong("a name that is a path", register(id="../w"), "worker.id"),
    wrong("a name in capitals", register(id="W"), "worker.id"),
    wrong("a name of a kilobyte", register(id="w" * 1000), "worker.id"),
    wrong("a link's port that is none", register(link_address="10.0.0.1"), "worker.link_address"),
    wrong("a link's port of a kilobyte", register(link_address="a" * 1000 + ":1"), "worker.link_address"),
    wrong("a link's port on the internet", register(link_address="8.8.8.8:7200"), "outside", DENIED),
    wrong("no state", register(state=pb.WORKER_STATE_UNSPECIFIED), "worker.state"),
    wrong("a state that nobody knows", register(state=99), "worker.state"),
    wrong("no capacity", register(capacity=0), "worker.capacity"),
    wrong("four billion at once", register(capacity=2**32 - 1), "worker.capacity"),
    wrong("a thousand models", register(models=models(*(f"m{n}" for n in range(1000)))), "worker.models"),
    wrong("a model twice", register(models=models("a", "a")), "worker.models"),
    wrong("a model that ends an event", register(models=models("a\n\ndata: x")), "worker.models[0].id"),
    wrong("a model that turns the text around", register(models=models("a\u202eb")), "worker.models[0].id"),
    wrong("a model without a name", register(models=models("")), "worker.models[0].id"),
    wrong(
        "a card of a megabyte",
        register(models=[inference_pb2.Model(id="m", root="x" * 2**20)]),
        "worker must take",
    ),
    wrong("a model that is loaded without a name", register(loading=[""]), "worker.loading[0]"),
    wrong("a version of a kilobyte", register(version="1" * 1000), "worker.version"),
    wrong("a thousand labels", register(labels={f"l{n}": "" for n in range(1000)}), "worker.labels"),
    wrong("a label without a name", register(labels={"": "a"}), "worker.labels"),
    wrong("a label of a kilobyte", register(labels={"zone": "z" * 1000}), "worker.labels"),
    wrong(
        "an epoch of all bits",
        pb.RegisterRequest(worker=worker(), previous_epoch=2**64 - 1),
        "previous_epoch",
    ),
    wrong("a lease of no time", timed(0), "ttl"),
    wrong("a lease below zero", timed(-1), "ttl"),
    wrong("a lease for ever", timed(315_576_000_000), "ttl"),
    wrong("a lease of nanoseconds that do not fit", timed(59, 2**31 - 1), "ttl"),
    at("no address", ""),
    at("no port", "127.0.0.1"),
    at("port nought", "127.0.0.1:0"),
    at("a port over 65535", "127.0.0.1:70000"),
    at("a socket in the file system", "unix:/var/run/docker.sock"),
    at("a URL", "http://127.0.0.1:80"),
    at("a user in an address", "user@127.0.0.1:80"),
    at("every interface", "0.0.0.0:80"),
    at("every interface of IPv6", "[::]:80"),
    at("many machines at once", "224.0.0.1:80"),
    at("a machine of the world", "8.8.8.8:53", "outside", DENIED),
    at("the cloud's own service", "169.254.169.254:80", "outside", DENIED),
    at("the world in the clothes of IPv6", "[::ffff:8.8.8.8]:53", "outside", DENIED),
    at("a neighbour of IPv6", "[fe80::1]:80", "outside", DENIED),
    at("an address of 100,000 characters", "a" * 100_000 + ":80", "at most"),
    at("a name that no resolver takes", "a..b:80"),
    kept("a renewal of no lease", "lease_id", lease_id=""),
    kept("a renewal without an epoch", "epoch", epoch=0),
    kept("a renewal with a state that nobody knows", "state", state=77),
    kept("tokens a second that are no number", "load.tokens_per_second", load=pb.Load(tokens_per_second=NAN)),
    kept("tokens a second without end", "load.tokens_per_second", load=pb.Load(tokens_per_second=INF)),
    kept("more free than there is", "load.free_kv_tokens", load=pb.Load(free_kv_tokens=2, total_kv_tokens=1)),
    kept(
        "a renewal with a thousand models",
        "models",
        models=pb.ModelSet(models=models(*map(str, range(1000)))),
    ),
    kept("a renewal of four billion at once", "capacity", capacity=2**32 - 1),
    RpcCase("a renewal that is no message", KEEP, (b"\xff\xff",), *INVALID, NO_MESSAGE),
    RpcCase(
        "a lease that nobody has", KEEP, (pb.KeepAliveRequest(lease_id="no", epoch=1),), "OK", "", "\x18\x01"
    ),
    RpcCase(
        "leases that nobody has, by the thousand",
        KEEP,
        tuple(pb.KeepAliveRequest(lease_id=f"no{n}", epoch=1) for n in range(1000)),
        "OK",
        "",
        "no999",
    ),
    RpcCase(
        "a renewal of a megabyte",
        KEEP,
        (pb.KeepAliveRequest(lease_id="x" * 2**20, epoch=1),),
        *INVALID,
        "lease_id",
    ),
    RpcCase(
        "a token where there is no authority",
        "RegistryService/Join",
        pb.JoinRequest(token="a.b"),
        "UNIMPLEMENTED",
        "UNIMPLEMENTED",
        "no authority's key",
    ),
    RpcCase("giving back nothing", GIVE, pb.DeregisterRequest(), *INVALID, "lease_id"),
    RpcCase("giving back without an epoch", GIVE, pb.DeregisterRequest(lease_id="l"), *INVALID, "epoch"),
    RpcCase("giving back what nobody has", GIVE, pb.DeregisterRequest(lease_id="' OR 1=1", epoch=1), "OK"),
    RpcCase("giving back in bytes that are no message", GIVE, b"\x0a", *INVALID, NO_MESSAGE),
    RpcCase("workers of a model that is not there", LIST, pb.ListWorkersRequest(model="../../x\0"), "OK"),
    RpcCase("a question that is no message", LIST, b"\x0a\x01\xff", *INVALID, NO_MESSAGE),
    RpcCase(
        "a watch from a revision to come",
        WATCH,
        pb.WatchRequest(from_revision=2**64 - 1, registry_id="x"),
        "DEADLINE_EXCEEDED",
        "",
        "",
        timeout=0.4,
    ),
    RpcCase("a watch that is no message", WATCH, b"\x08", *INVALID, NO_MESSAGE),
    RpcCase(
        "a method of the registry that is not there",
        "RegistryService/Reset",
        b"",
        "UNIMPLEMENTED",
        "",
        "not found",
    ),
    RpcCase(
        "a request of a model at the registry",
        "InferenceService/Generate",
        b"",
        "UNIMPLEMENTED",
        "",
        "not found",
    ),
    RpcCase(
        "17 MiB of registration", REGISTER, b"x" * (17 * 2**20), "RESOURCE_EXHAUSTED", "", "larger than max"
    ),
    RpcCase(
        "metadata of 100 KB at the registry",
        LIST,
        b"",
        "RESOURCE_EXHAUSTED",
        "",
        "",
        (("x-a", "a" * 100_000),),
    ),
)
