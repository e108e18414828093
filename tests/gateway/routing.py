"""Workers and requests for tests of routing."""

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2 as rpb
from inferloom_gateway.fleet.ask import Ask
from inferloom_gateway.fleet.members import Fleet, Member
from inferloom_gateway.fleet.prompt_keys import PromptKeys
from inferloom_gateway.fleet.router import Choice, Router, Tuning
from tests.gateway.samples import CHAT, entry, snapshot


class Routed:
    """Workers of the model ``chat``, and a gateway's router over them."""

    def __init__(
        self, *entries: rpb.RegisteredWorker, zone: str = "", tuning: Tuning | None = None, now: float = 0.0
    ) -> None:
        self.fleet = Fleet()
        self.fleet.apply(snapshot(*entries), now)
        self.router = Router(self.fleet, zone, tuning)
        self.now = now

    def forget(self) -> None:
        """Have a router that remembers nothing, as that of another gateway."""
        self.router = Router(self.fleet)

    @property
    def members(self) -> dict[str, Member]:
        """The workers by their names."""
        return {member.id: member for member in self.fleet.members()}

    def ask(
        self,
        own: int | None = None,
        shared: int = 0,
        *,
        request: pb.GenerateRequest | None = None,
        tried: tuple[Member, ...] = (),
        task: "pb.Task.ValueType | None" = None,
    ) -> Choice | None:
        """Choose for a prompt with these keys; None: without affinity."""
        keys = None if own is None else lambda: PromptKeys(shared, own)
        ask = Ask("chat", task, keys, request)
        return self.router.choose(ask, self.fleet.holding("chat"), self.now, tried)

    def worker(self, own: int | None = None, shared: int = 0, *, tried: tuple[Member, ...] = ()) -> Member:
        """The worker that is chosen."""
        choice = self.ask(own, shared, tried=tried)
        assert choice is not None
        return choice.member


def crowd(count: int, *, capacity: int = 8) -> list[rpb.RegisteredWorker]:
    """So many workers of the model ``chat``."""
    return [entry(f"w{number}", capacity=capacity) for number in range(count)]


def honouring(worker_id: str, *names: str) -> rpb.RegisteredWorker:
    """A worker whose card for ``chat`` has these optional parameters."""
    card = pb.Model()
    card.CopyFrom(CHAT)
    card.supported_parameters.extend(names)
    return entry(worker_id, models=(card,))


def placed(worker_id: str, zone: str, *, capacity: int = 8) -> rpb.RegisteredWorker:
    """A worker that says where it is."""
    made = entry(worker_id, capacity=capacity)
    made.worker.labels["zone"] = zone
    return made
