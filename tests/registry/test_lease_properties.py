"""What holds of the lease table whatever happens to it."""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from inferloom.v1 import registry_pb2 as pb
from inferloom_registry.journal import Kind
from inferloom_registry.lease import LeaseLostError
from inferloom_registry.lease_table import LeaseTable
from inferloom_registry.registration import Registration
from tests.registry.clock import FakeClock
from tests.registry.samples import TTL, expire, join, renew, worker

WORKERS = st.sampled_from(["a", "b", "c"])


class LeaseTableMachine(RuleBasedStateMachine):
    """Workers come, renew, go and fall silent, while a watcher reads the journal now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.table = LeaseTable(self.clock, settle=TTL)
        self.granted: dict[str, list[Registration]] = {}
        self.renewed_at: dict[str, float] = {}
        self.seen: dict[str, tuple[int, bool]] = {}
        self.sent = 0

    @rule(worker_id=WORKERS)
    def register(self, worker_id: str) -> None:
        earlier = self.granted.setdefault(worker_id, [])
        lease = join(self.table, worker(worker_id))
        assert not earlier or lease.epoch > earlier[-1].epoch, "epochs rise"
        earlier.append(lease)
        self.renewed_at[worker_id] = self.clock()

    @rule(worker_id=WORKERS, back=st.integers(1, 3), draining=st.booleans())
    def renew(self, worker_id: str, back: int, draining: bool) -> None:
        leases = self.granted.get(worker_id, [])
        if len(leases) < back:
            return
        lease = leases[-back]
        state = pb.WORKER_STATE_DRAINING if draining else pb.WORKER_STATE_UNSPECIFIED
        try:
            renew(self.table, lease, load=pb.Load(), state=state)
        except LeaseLostError:
            assert back > 1 or self.table.get(worker_id) is None, "a lease that is held is good"
        else:
            assert back == 1, "only the newest lease of a worker is good"
            self.renewed_at[worker_id] = self.clock()

    @rule(worker_id=WORKERS)
    def give_back(self, worker_id: str) -> None:
        if lease := self.table.get(worker_id):
            self.table.remove(lease.registration, pb.LEASE_LOSS_DEREGISTERED)

    @rule(seconds=st.sampled_from([0.25, 1.0, 2.9, 6.0, 100.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for worker_id in expire(self.table):
            assert self.clock() - self.renewed_at[worker_id] >= 1.5 * TTL, "nobody goes before 1.5 TTL"

    @rule()
    def watch(self) -> None:
        if not self.table.covers(self.sent):
            self.seen = self.state()
        else:
            for change in self.table.since(self.sent):
                assert change.revision > self.sent, "revisions rise"
                self.sent = change.revision
                if change.kind is Kind.PUT:
                    self.seen[change.worker_id] = self.state()[change.worker_id]
                elif change.kind is Kind.REMOVED:
                    self.seen.pop(change.worker_id, None)
        self.sent = self.table.revision
        assert self.state() == self.seen, "changes lead to where the table stands"

    @invariant()
    def the_last_revision_is_always_reachable(self) -> None:
        assert self.table.covers(self.table.revision)
        changes = self.table.since(self.sent) if self.table.covers(self.sent) else []
        assert not changes or changes[-1].revision == self.table.revision

    def state(self) -> dict[str, tuple[int, bool]]:
        return {
            lease.registration.worker_id: (lease.registration.epoch, lease.suspect)
            for lease in self.table.leases()
        }


LeaseTableMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestLeaseTable = LeaseTableMachine.TestCase
