"""A simulated mesh that may move running streams from one worker to another."""

from dataclasses import dataclass, field
from heapq import heappop, heappush
from statistics import fmean

from simulation.gateways import Ours
from simulation.machine import Hardware
from simulation.request import Request
from simulation.steps import StepMachine, Stream
from simulation.traffic import Traffic, Workload

ARRIVE, STEP, TICK, SLOW = range(4)
TICK_S = 0.25


@dataclass(frozen=True, slots=True)
class Moving:
    """When running streams are moved."""

    name: str
    ratio: float = 1e9
    """From a worker whose load is so many times that of the one with the least,"""
    margin: int = 8
    """and so many streams more;"""
    a_second: float = 4.0
    """and so many a second, over all workers."""
    off_ejected: bool = False
    """Also from workers that were ejected for being slow."""


@dataclass(slots=True)
class Moved:
    """What came out."""

    waits: list[float] = field(default_factory=list)
    """Seconds to each first token."""
    gaps: list[float] = field(default_factory=list)
    """Mean seconds from token to token, of each answer."""
    pauses: list[float] = field(default_factory=list)
    """The longest such time of each answer."""
    totals: list[float] = field(default_factory=list)
    """Seconds of each answer."""
    imbalance: list[float] = field(default_factory=list)
    moves: int = 0


class MovingMesh:
    """Workers, one gateway with our router, and traffic."""

    def __init__(self, gateway: Ours, workers: int, hardware: Hardware, moving: Moving) -> None:
        self._gateway = gateway
        self._machines = [StepMachine(hardware) for _ in range(workers)]
        self._moving = moving
        self._allowed = 0.0
        self._heap: list[tuple[float, int, int, int, object]] = []
        self._number = 0
        for worker in range(workers):
            gateway.come(worker, hardware.slots, 0.0)

    def run(self, work: Workload, traffic: Traffic, requests: int, warm: int) -> Moved:
        """Answer so many requests, of which the first ``warm`` ones do not count."""
        out, done = Moved(), 0
        beginnings = traffic.beginnings()
        first = next(beginnings)
        self._push(first.at, ARRIVE, 0, first)
        self._push(TICK_S, TICK)
        if work.slow_from_s < 1e9:
            self._push(work.slow_from_s, SLOW)
        while done < requests + warm:
            now, _, kind, worker, what = heappop(self._heap)
            if kind == ARRIVE:
                assert isinstance(what, Request)
                if what is first:
                    first = next(beginnings)
                    self._push(first.at, ARRIVE, 0, first)
                at = self._gateway.send(what, now)
                self._machines[at].take(Stream(what, last=now))
                self._go(at, now)
            elif kind == STEP:
                assert isinstance(what, list)
                self._machines[worker].stepping = False
                for stream in what:
                    if stream in self._machines[worker].running and self._token(stream, worker, now):
                        done += 1
                        self._count(out if done > warm else Moved(), stream, now)
                        turn = traffic.next(stream.request, now)
                        if turn is not None:
                            self._push(turn.at, ARRIVE, 0, turn)
                self._go(worker, now)
            elif kind == TICK:
                self._tick(out, now)
                self._push(now + TICK_S, TICK)
            else:
                self._machines[0].slowness = 10.0
        return out

    def _go(self, worker: int, now: float) -> None:
        machine = self._machines[worker]
        if not machine.stepping and machine.load:
            seconds, telling = machine.step(now)
            machine.stepping = True
            self._push(now + seconds, STEP, worker, telling)

    def _token(self, stream: Stream, worker: int, now: float) -> bool:
        """Tell a token; whether it was the last."""
        request = stream.request
        if stream.told:
            stream.pause = max(stream.pause, now - stream.last)
        else:
            request.first = now
            self._gateway.began(request, now)
        stream.told, stream.last = stream.told + 1, now
        request.finish = request.first + max(1e-9, now - request.first) * request.output / stream.told
        if stream.told < request.output:
            return False
        self._machines[worker].drop(stream)
        self._gateway.ended(request, now)
        return True

    def _count(self, out: Moved, stream: Stream, now: float) -> None:
        request = stream.request
        out.waits.append(request.first - request.at)
        out.gaps.append((now - request.first) / max(1, stream.told - 1))
        out.pauses.append(stream.pause)
        out.totals.append(now - request.at)

    def _tick(self, out: Moved, now: float) -> None:
        loads = [machine.load for machine in self._machines]
        if any(loads):
            out.imbalance.append(max(loads) / fmean(loads))
        for machine in self._machines:
            for stream in machine.running:
                if stream.told:
                    self._gateway.progress(stream.request, now)
        moving = self._moving
        self._allowed = min(self._allowed + moving.a_second * TICK_S, max(1.0, moving.a_second))
        out_of_use = (
            {worker for at, worker in self._gateway.ejected if now - at < 30} if moving.off_ejected else set()
        )
        while self._allowed >= 1:
            cool = min((each for each in range(len(loads)) if each not in out_of_use), key=loads.__getitem__)
            hot = max(
                range(len(loads)), key=lambda each: (each in out_of_use and loads[each] > 0, loads[each])
            )
            far = (
                loads[hot] >= moving.ratio * max(1, loads[cool]) and loads[hot] - loads[cool] >= moving.margin
            )
            if (
                not (far or (hot in out_of_use and loads[hot]))
                or loads[cool] >= self._machines[cool].hardware.slots
            ):
                return
            streams = [each for each in self._machines[hot].running if each.told and not each.moves]
            if not streams:
                return
            self._move(min(streams, key=lambda each: each.context), hot, cool, now)
            loads[hot], loads[cool] = loads[hot] - 1, loads[cool] + 1
            self._allowed -= 1
            out.moves += 1

    def _move(self, stream: Stream, source: int, target: int, now: float) -> None:
        self._machines[source].drop(stream)
        stream.moves += 1
        self._gateway.move(stream.request, target, now)
        self._gateway.began(stream.request, now)
        self._machines[target].take(stream, ahead=True)
        self._go(target, now)

    def _push(self, at: float, kind: int, worker: int = 0, what: object = None) -> None:
        self._number += 1
        heappush(self._heap, (at, self._number, kind, worker, what))
