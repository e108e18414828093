"""What befalls the network between gateways and workers."""

import asyncio

from faulting.mesh import Plan
from faulting.proxy import Proxy, Way, Weather
from faulting.suite import Bars, Ground, Seen, fault, seen, under_load

LASTS_S = 15.0

_PROXIED = Plan(proxied=True)


@fault("200 ± 50 ms latency on every connection", Bars(gap_s=3), quick=True)
async def slow(ground: Ground) -> Seen:
    return await _weather(ground, Weather(delay_s=0.2, jitter_s=0.05))


@fault("5 % loss on every connection", Bars(gap_s=3))
async def lossy(ground: Ground) -> Seen:
    return await _weather(ground, Weather(loss=0.05))


@fault("connections to workers reset, every 2 s", Bars(gap_s=3), quick=True)
async def reset(ground: Ground) -> Seen:
    async with ground.mesh(_PROXIED) as mesh, under_load(mesh, ground.clients) as load:
        for number in range(6):
            mesh.proxies[f"worker{number % mesh.plan.workers}"].reset()
            await asyncio.sleep(2)
    return seen(load)


@fault("half-open to a worker: what gateways say is lost", Bars(gap_s=15))
async def half_open_there(ground: Ground) -> Seen:
    return await _half_open(ground, "there")


@fault("half-open from a worker: what it says is lost", Bars(gap_s=15))
async def half_open_back(ground: Ground) -> Seen:
    return await _half_open(ground, "back")


@fault("a worker cut off from gateways for 20 s", Bars(gap_s=15, detected_s=15))
async def cut_off(ground: Ground) -> Seen:
    async with ground.mesh(_PROXIED) as mesh, under_load(mesh, ground.clients) as load:
        before = len(mesh.parts["gateway0"].said)
        mesh.proxies["worker0"].part()
        detected = await mesh.parts["gateway0"].says("worker w0 .* is unreachable", 20, before)
        await asyncio.sleep(20 - (detected or 20))
        mesh.proxies["worker0"].heal()
        await mesh.complete()
    return seen(load, detected)


async def _weather(ground: Ground, weather: Weather) -> Seen:
    """Nobody is to be ejected for it."""
    async with ground.mesh(_PROXIED) as mesh, under_load(mesh, ground.clients) as load:
        for proxy in mesh.proxies.values():
            proxy.weather = weather
        await asyncio.sleep(LASTS_S)
        said = mesh.parts["gateway0"].said
    return seen(load, wrong=("a worker was called unreachable",) if "unreachable" in said else ())


async def _half_open(ground: Ground, way: Way) -> Seen:
    async with ground.mesh(_PROXIED) as mesh, under_load(mesh, ground.clients) as load:
        proxy: Proxy = mesh.proxies["worker0"]
        proxy.swallow(way)
        await asyncio.sleep(LASTS_S)
        proxy.heal()
        proxy.reset()
        await mesh.complete()
    return seen(load)
