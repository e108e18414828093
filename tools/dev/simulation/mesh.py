"""A simulated mesh: a heap of events, and no waiting."""

import time
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from statistics import fmean

from simulation.gateways import Gateway, Ours
from simulation.machine import Hardware, Machine
from simulation.request import BLOCK, Request
from simulation.traffic import Traffic, Workload

ARRIVE, BEGIN, END, TICK, TELL, CHANGE, SLOW = range(7)

TICK_S = 1.0


@dataclass(slots=True)
class Outcome:
    """What came out."""

    requests: int = 0
    cached: int = 0
    """Tokens of prompts that were in caches."""
    prompted: int = 0
    """Tokens of prompts."""
    waits: list[float] = field(default_factory=list)
    """Seconds to each first token."""
    gaps: list[float] = field(default_factory=list)
    """Seconds from token to token, of each request."""
    queued: int = 0
    """Requests that waited for a slot."""
    imbalance: list[float] = field(default_factory=list)
    """The highest load over the mean, each second."""
    slow_share: float = 0.0
    """The part of requests that the slow worker got from 10 s on after it became slow, times the number of
    workers; 1 is a worker's share."""
    ejections: int = 0
    """Ejections, of all gateways."""
    seconds: float = 0.0
    """Processor time of the simulation."""

    @property
    def hits(self) -> float:
        """The part of prompt tokens that were in caches."""
        return self.cached / max(1, self.prompted)

    def wait(self, quantile: float) -> float:
        """A quantile of the waits, in seconds."""
        return _quantile(self.waits, quantile)

    def gap(self, quantile: float) -> float:
        """A quantile of the times from token to token, in seconds."""
        return _quantile(self.gaps, quantile)

    @property
    def unevenness(self) -> float:
        """The mean of the imbalance."""
        return fmean(self.imbalance)


def _quantile(values: list[float], quantile: float) -> float:
    values.sort()
    return values[min(len(values) - 1, int(quantile * len(values)))]


class Mesh:
    """Workers, gateways and traffic.

    Args:
        gateways: Which requests go through at random.
        workers: How many workers there are.
        hardware: What each can do.
        tell_s: How often workers tell the gateways their load.
        seed: Of all that is random but the traffic.
    """

    def __init__(
        self, gateways: list[Gateway], workers: int, hardware: Hardware, tell_s: float, seed: int
    ) -> None:
        self._gateways = gateways
        self._hardware = hardware
        self._tell_s = tell_s
        self._random = Random(seed)
        self._machines: dict[int, Machine] = {}
        self._serving: list[int] = []
        self._next = 0
        self._heap: list[tuple[float, int, int, Request | None]] = []
        self._number = 0
        self._ours = [gateway for gateway in gateways if isinstance(gateway, Ours)]
        for _ in range(workers):
            self._come(0.0)

    def run(self, workload: Workload, traffic: Traffic, requests: int, warm: int) -> Outcome:
        """Answer so many requests, of which the first ``warm`` ones do not count."""
        began = time.process_time()
        out, sent, slow, late, late_slow = Outcome(), 0, -1, 0, 0
        beginnings = traffic.beginnings()
        self._push(0.0, TICK)
        if len(self._gateways) > 1:
            self._push(self._tell_s, TELL)
        if workload.change_s < 1e9:
            self._push(workload.change_s, CHANGE)
        if workload.slow_from_s < 1e9:
            self._push(workload.slow_from_s, SLOW)
        first = next(beginnings)
        self._push(first.at, ARRIVE, first)
        while out.requests < requests:
            now, _, kind, request = heappop(self._heap)
            if request is None:
                if kind == TICK:
                    self._tick(out, now)
                elif kind == TELL:
                    self._tell(now)
                elif kind == CHANGE:
                    self._change(now)
                    self._push(now + workload.change_s, CHANGE)
                else:
                    slow = self._serving[0]
                    self._machines[slow].slowness = 10.0
                continue
            gateway = self._gateways[request.gateway]
            if kind == ARRIVE:
                if request is first:
                    first = next(beginnings)
                    self._push(first.at, ARRIVE, first)
                sent += 1
                request.gateway = self._random.randrange(len(self._gateways)) if self._gateways[1:] else 0
                worker = self._gateways[request.gateway].send(request, now)
                if slow >= 0 and now > workload.slow_from_s + 10:
                    late += 1
                    late_slow += worker == slow
                if self._machines[worker].take(request, now):
                    self._started(request)
                elif sent > warm:
                    out.queued += 1
            elif kind == BEGIN:
                if isinstance(gateway, Ours):
                    gateway.began(request, now)
            else:
                machine = self._machines[request.worker]
                gateway.ended(request, now)
                following = machine.finish(request, traffic.made(request), now)
                if following is not None:
                    self._started(following)
                if sent > warm:
                    out.requests += 1
                    out.cached += request.cached * BLOCK
                    out.prompted += len(request.blocks) * BLOCK
                    out.waits.append(request.first - request.at)
                    out.gaps.append((request.finish - request.first) / request.output)
                turn = traffic.next(request, now)
                if turn is not None:
                    self._push(turn.at, ARRIVE, turn)
        out.slow_share = late_slow / late * len(self._serving) if late else 0.0
        out.ejections = sum(len(gateway.ejected) for gateway in self._ours)
        out.seconds = time.process_time() - began
        return out

    def _started(self, request: Request) -> None:
        if self._ours:
            self._push(request.first, BEGIN, request)
        self._push(request.finish, END, request)

    def _tick(self, out: Outcome, now: float) -> None:
        loads = [self._machines[worker].load for worker in self._serving]
        if any(loads):
            out.imbalance.append(max(loads) / fmean(loads))
        if self._ours:
            for worker in self._serving:
                for request in self._machines[worker].running:
                    if request.first < now:
                        gateway = self._gateways[request.gateway]
                        assert isinstance(gateway, Ours)
                        gateway.progress(request, now)
        self._push(now + TICK_S, TICK)

    def _tell(self, now: float) -> None:
        for worker in self._serving:
            load = self._machines[worker].load
            for gateway in self._gateways:
                gateway.told(worker, load, now)
        self._push(now + self._tell_s, TELL)

    def _change(self, now: float) -> None:
        gone = self._serving.pop(self._random.randrange(len(self._serving)))
        for gateway in self._gateways:
            gateway.go(gone, now)
        self._come(now)

    def _come(self, now: float) -> None:
        worker, self._next = self._next, self._next + 1
        self._machines[worker] = Machine(self._hardware)
        self._serving.append(worker)
        for gateway in self._gateways:
            gateway.come(worker, self._hardware.slots, now)

    def _push(self, at: float, kind: int, request: Request | None = None) -> None:
        self._number += 1
        heappush(self._heap, (at, self._number, kind, request))
