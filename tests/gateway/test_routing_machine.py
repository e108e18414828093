"""What holds of routing whatever happens to the workers."""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, rule

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import registry_pb2 as rpb
from inferloom_gateway.fleet.ask import Ask
from inferloom_gateway.fleet.members import Fleet, Member
from inferloom_gateway.fleet.prompt_keys import PromptKeys
from inferloom_gateway.fleet.router import Router
from tests.gateway.samples import CHAT, change, entry, snapshot

NAMES = st.sampled_from([f"w{number}" for number in range(6)])
KEYS = st.integers(0, 2**64 - 1)
CONSTRAINED = pb.GenerateRequest(model="chat", constraint=pb.Constraint(regex="a+"))


def able() -> pb.Model:
    """A card that can constrain."""
    card = pb.Model(supported_parameters=["constraint"])
    card.MergeFrom(CHAT)
    return card


class Routing(RuleBasedStateMachine):
    """Workers come, go, fail, refuse and fall silent, while requests are routed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.epoch = 0
        self.fleet = Fleet()
        self.fleet.apply(snapshot(entry("w0")), self.now)
        self.router = Router(self.fleet, "x")
        self.gone: dict[str, float] = {}
        """When those went that can constrain, and have not come back since."""

    @rule(name=NAMES, capacity=st.integers(1, 8), zone=st.sampled_from(["", "x", "y"]), can=st.booleans())
    def come(self, name: str, capacity: int, zone: str, can: bool) -> None:
        self.epoch += 1
        made = entry(name, epoch=self.epoch, capacity=capacity, models=(able() if can else CHAT,))
        made.worker.labels["zone"] = zone
        self.fleet.apply(change(put=made), self.now)
        self.gone.pop(name, None)

    @rule(name=NAMES)
    def go(self, name: str) -> None:
        if any(self.can(member) for member in self.fleet.members() if member.id == name):
            self.gone[name] = self.now
        self.fleet.apply(change(removed=rpb.WorkerRemoved(worker_id=name, epoch=10**9)), self.now)

    @rule(name=NAMES, what=st.sampled_from(["eject", "refuse", "lose", "find", "suspect", "tell"]))
    def happen(self, name: str, what: str) -> None:
        member = next((m for m in self.fleet.members() if m.id == name), None)
        if member is None:
            return
        match what:
            case "eject":
                self.fleet.eject(member, self.now)
            case "refuse":
                member.health.not_now("chat", self.now + 2)
            case "lose" | "find":
                member.health.reachable = what == "find"
            case "suspect":
                member.suspect_since = self.now
            case "tell":
                member.take_load(rpb.Load(running=7), self.now)

    @rule(seconds=st.sampled_from([0.01, 1.0, 5.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.fleet.compare(self.now)

    @rule(own=KEYS, shared=st.sampled_from([0, 1, 2**63]), tries=st.integers(0, 2), needs=st.booleans())
    def route(self, own: int, shared: int, tries: int, needs: bool) -> None:
        keys = None if own % 7 == 0 else lambda: PromptKeys(shared, own, own % 2 == 0)
        ask = Ask("chat", pb.TASK_CHAT, keys, CONSTRAINED if needs else None)
        holding = self.fleet.holding("chat")
        tried = holding[:tries]
        left = [m for m in holding if m not in tried]
        if needs and (any(map(self.can, holding)) or any(self.now - at <= 600 for at in self.gone.values())):
            left = [m for m in left if self.can(m)]
        best = max((self.standing(m) for m in left), default=0)
        choice = self.router.choose(ask, holding, self.now, tried)
        if choice is None:
            assert best == 0, "where somebody may take it, somebody gets it"
            return
        assert choice.member in left
        assert self.standing(choice.member) == best > 0, "nobody worse is taken while there is a better one"
        choice.member.in_flight += 1

    @rule(name=NAMES)
    def end(self, name: str) -> None:
        for member in self.fleet.members():
            if member.id == name:
                member.in_flight = max(0, member.in_flight - 2)

    @staticmethod
    def can(member: Member) -> bool:
        return "constraint" in member.models["chat"].supported_parameters

    def standing(self, member: Member) -> int:
        if not (member.ready and member.health.reachable):
            return 0
        if member.health.refuses("chat", self.now):
            return 1
        good = not member.health.ejected(self.now) and member.suspect_since is None
        return 3 if good else 2


Routing.TestCase.settings = settings(max_examples=20, stateful_step_count=30)
TestRouting = Routing.TestCase
