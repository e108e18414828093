"""Simulated gateways, each with its own policy and its own view of the workers."""

from abc import ABC, abstractmethod
from random import Random

from inferloom.v1 import inference_pb2, registry_pb2
from inferloom_gateway.fleet.ask import Ask
from inferloom_gateway.fleet.members import Fleet, Member
from inferloom_gateway.fleet.prompt_keys import PromptKeys
from inferloom_gateway.fleet.router import Router, Tuning
from simulation.cache_tree import CacheTree
from simulation.request import BLOCK, Request

MODEL = "model"
_CARD = inference_pb2.Model(id=MODEL)


class Gateway(ABC):
    """Chooses workers, knowing its own calls and what workers told of their load."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.alive: list[int] = []
        self.loads: dict[int, int] = {}
        """What each worker has to do, as far as is known here."""
        self.own: dict[int, int] = {}
        """This gateway's own part of that."""

    def come(self, worker: int, slots: int, now: float) -> None:
        """A worker came."""
        self.alive.append(worker)
        self.loads[worker] = self.own[worker] = 0

    def go(self, worker: int, now: float) -> None:
        """A worker takes no more."""
        self.alive.remove(worker)
        del self.loads[worker], self.own[worker]

    def told(self, worker: int, load: int, now: float) -> None:
        """A worker told its load."""
        if worker in self.loads:
            self.loads[worker] = max(load, self.own[worker])

    def send(self, request: Request, now: float) -> int:
        """Choose a worker, and count the call."""
        worker = request.worker = self.choose(request, now)
        self.loads[worker] += 1
        self.own[worker] += 1
        return worker

    def ended(self, request: Request, now: float) -> None:
        """An answer is complete."""
        if request.worker in self.loads:
            self.loads[request.worker] -= 1
            self.own[request.worker] -= 1

    def move(self, request: Request, worker: int, now: float) -> None:
        """A request goes on at another worker."""
        if request.worker in self.loads:
            self.loads[request.worker] -= 1
            self.own[request.worker] -= 1
        request.worker = worker
        self.loads[worker] += 1
        self.own[worker] += 1

    @abstractmethod
    def choose(self, request: Request, now: float) -> int:
        """Which worker gets a request."""


class AtRandom(Gateway):
    """Any worker."""

    def choose(self, request: Request, now: float) -> int:
        """Any."""
        return self.random.choice(self.alive)


class RoundRobin(Gateway):
    """One after another."""

    _turn = 0

    def choose(self, request: Request, now: float) -> int:
        """The next one."""
        self._turn += 1
        return self.alive[self._turn % len(self.alive)]


class LeastLoaded(Gateway):
    """The one with the fewest requests."""

    def choose(self, request: Request, now: float) -> int:
        """One of those, any."""
        least = min(self.loads.values())
        return self.random.choice([worker for worker in self.alive if self.loads[worker] == least])


class TwoChoices(Gateway):
    """The better of any two (power of two choices)."""

    def choose(self, request: Request, now: float) -> int:
        """The one of two with fewer requests."""
        one, other = self.random.choice(self.alive), self.random.choice(self.alive)
        return one if self.loads[one] <= self.loads[other] else other


class Tree(Gateway):
    """As SGLang's cache-aware router."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self._tree = CacheTree()

    def choose(self, request: Request, now: float) -> int:
        """What the tree says."""
        return self._tree.choose(request.blocks, self.alive, self.loads)


class Ours(Gateway):
    """The gateway's own router and fleet, as they are."""

    def __init__(self, random: Random, tuning: Tuning | None = None, *, levels: int = 2) -> None:
        super().__init__(random)
        self._levels = levels
        self._fleet = Fleet()
        self._router = Router(self._fleet, tuning=tuning)
        self._members: dict[int, Member] = {}
        self._change = registry_pb2.WatchResponse()
        self.ejected: list[tuple[float, int]] = []

    def come(self, worker: int, slots: int, now: float) -> None:
        """A worker registered."""
        super().come(worker, slots, now)
        put = registry_pb2.RegisteredWorker(
            worker=registry_pb2.Worker(
                id=f"w{worker}",
                address=f"w{worker}:1",
                models=[_CARD],
                capacity=slots,
                state=registry_pb2.WORKER_STATE_READY,
            ),
            epoch=1,
            lease_state=registry_pb2.LEASE_STATE_ACTIVE,
        )
        self._fleet.settled = now > 0
        self._fleet.apply(registry_pb2.WatchResponse(put=put), now)
        self._members[worker] = self._fleet.members()[-1]

    def go(self, worker: int, now: float) -> None:
        """A worker left."""
        super().go(worker, now)
        removed = registry_pb2.WorkerRemoved(worker_id=f"w{worker}", epoch=1)
        self._fleet.apply(registry_pb2.WatchResponse(removed=removed), now)
        del self._members[worker]

    def told(self, worker: int, load: int, now: float) -> None:
        """A worker told its load."""
        if (member := self._members.get(worker)) is not None:
            member.take_load(registry_pb2.Load(running=load), now)

    def choose(self, request: Request, now: float) -> int:
        """What the router says."""
        fleet = self._fleet
        shared = request.shared if self._levels > 1 else 0
        own = request.own if self._levels else request.shared or request.own
        ask = Ask(MODEL, None, lambda: PromptKeys(shared, own, request.turn > 0))
        choice = self._router.choose(ask, fleet.holding(MODEL), now)
        assert choice is not None, "there is a worker"
        return int(choice.member.id[1:])

    def send(self, request: Request, now: float) -> int:
        """Choose, and count."""
        worker = super().send(request, now)
        self._members[worker].in_flight += 1
        self.ejected += [(now, int(out.id[1:])) for out in self._fleet.compare(now)]
        return worker

    def ended(self, request: Request, now: float) -> None:
        """Count."""
        super().ended(request, now)
        if (member := self._members.get(request.worker)) is not None:
            member.in_flight -= 1
            self.progress(request, now)
            read = (len(request.blocks) - request.cached) * BLOCK
            member.pace(MODEL).read(request.first - request.began, read, now)
            member.pace(MODEL).end(now)

    def move(self, request: Request, worker: int, now: float) -> None:
        """Count."""
        if (member := self._members.get(request.worker)) is not None:
            member.in_flight -= 1
            member.pace(MODEL).end(now)
        super().move(request, worker, now)
        self._members[worker].in_flight += 1

    def began(self, request: Request, now: float) -> None:
        """The first token came."""
        if (member := self._members.get(request.worker)) is not None:
            member.pace(MODEL).begin(now)

    def progress(self, request: Request, now: float) -> None:
        """Count the tokens that have come."""
        if (member := self._members.get(request.worker)) is not None:
            part = min(1.0, (now - request.first) / max(1e-9, request.finish - request.first))
            due = int(part * request.output)
            member.pace(MODEL).tokens += due - request.counted
            request.counted = due
