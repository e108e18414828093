"""How busy a server is, by its own word."""

from dataclasses import dataclass

from inferloom_mesh.errors import InferloomError
from inferloom_worker.engines.sidecar import reading
from inferloom_worker.engines.sidecar.client import Answer, Client
from inferloom_worker.engines.sidecar.facts import Facts
from inferloom_worker.engines.sidecar.gauges import gauges, kv_tokens
from inferloom_worker.engines.sidecar.kinds import ServerKind
from inferloom_worker.engines.sidecar.sse import MalformedError


@dataclass(frozen=True, slots=True)
class ServerLoad:
    """How busy a server says it is, whoever asked it. Zeros: it does not say."""

    running: int = 0
    waiting: int = 0
    free_kv_tokens: int = 0
    total_kv_tokens: int = 0


class LoadQuestions:
    """Asks one server for its load, until it shows that it does not tell.

    Args:
        client: Speaks to it.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._tells = True

    async def ask(self, facts: Facts) -> ServerLoad | None:
        """The load of a server with these facts. None: it does not tell, now or ever."""
        if not self._tells:
            return None
        names, root = facts.manner.gauges, self._client.address.root
        try:
            answer = await self._client.get(f"{root}/metrics") if names else None
            if answer is not None and answer.status == 200:
                return _of_gauges(answer, facts)
            if facts.kind is ServerKind.LLAMA:
                return _of_slots(await self._client.get(f"{root}/slots"))
        except MalformedError:
            pass
        except InferloomError:
            return None  # the next look tells what that means
        self._tells = False
        return None


def _of_gauges(answer: Answer, facts: Facts) -> ServerLoad:
    names = facts.manner.gauges
    found = gauges(answer.body, names.values())
    values = {ours: max(0.0, min(1e9, found.get(theirs, 0.0))) for ours, theirs in names.items()}
    total = kv_tokens(answer.body)
    return ServerLoad(
        running=int(values["running"]),
        waiting=int(values["waiting"]),
        free_kv_tokens=int(total * (1 - min(1.0, values.get("kv_use", 0.0)))),
        total_kv_tokens=total,
    )


def _of_slots(answer: Answer) -> ServerLoad:
    """Of llama-server's list of slots. Raises MalformedError."""
    if answer.status != 200:
        raise MalformedError("no slots")
    slots = reading.items(reading.value(answer.body), "slots", 2**16)
    return ServerLoad(running=sum(reading.obj(each, "a slot").get("is_processing") is True for each in slots))
