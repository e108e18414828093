"""``inferloom explain``: one request's story."""

import json
import sys
import time

from google.protobuf.json_format import MessageToDict
from rich.console import Console
from rich.table import Table
from rich.text import Text

from inferloom.v1 import gateway_pb2 as pb
from inferloom.v1.gateway_pb2_grpc import GatewayServiceStub
from inferloom_cli.calls import DEADLINE_S, calling
from inferloom_cli.client_settings import ClientSettings
from inferloom_cli.gateway_door import door_of
from inferloom_cli.story import headline, parts, span, story
from inferloom_cli.terminal import terminal

_STYLES = {
    pb.REQUEST_STATE_DONE: "green",
    pb.REQUEST_STATE_FAILED: "red",
    pb.REQUEST_STATE_CANCELLED: "yellow",
}


async def explain(settings: ClientSettings, api_key: str | None, request_id: str, *, as_json: bool) -> None:
    """Print what became of a request; any gateway knows it.

    Raises:
        RefusedError: No gateway knows it, or none answers.
    """
    door = await door_of(settings, api_key)
    async with calling("gateway", *door) as channel:
        asked = pb.GetRequestRequest(request_id=request_id)
        answer = await GatewayServiceStub(channel).GetRequest(asked, timeout=DEADLINE_S)
    if as_json:
        print(to_json(answer))
        return
    console = terminal()
    for place, record in enumerate(answer.records):
        if place:
            console.print()
        tell(record, console)
    for each in answer.unanswered:
        words = f"{each.name} at {each.address} may know more: {each.why}"
        terminal(stderr=True).print(Text(words, style="yellow"))


def to_json(answer: pb.GetRequestResponse) -> str:
    """The records with the contract's field names."""
    return json.dumps(MessageToDict(answer, preserving_proto_field_name=True), indent=2)


def tell(record: pb.RequestRecord, console: Console) -> None:
    """Print one story."""
    now = time.time()
    style = _STYLES.get(record.state, "cyan")
    head = Text.assemble("request ", (record.request_id, "bold"), " ", (headline(record, now), style))
    console.print(head)
    came = record.arrived_at.ToNanoseconds() / 1e9
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(came)) + f".{int(came % 1 * 1e3):03d}"
    console.print(Text(f"at gateway {record.gateway} (process {record.pid}), {moment}", style="dim"))
    console.print()
    grid = Table.grid(padding=(0, 2))
    grid.add_column(justify="right", style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for line in story(record):
        grid.add_row(f"+{span(line.at_s)}", Text(line.text, style="red" if line.bad else ""))
    console.print(grid)
    if spent := parts(record):
        told = ", ".join(f"{part.name} {span(part.seconds)}" for part in spent)
        console.print()
        console.print(Text.assemble(("time went to ", "dim"), told))
    if record.traceparent:
        console.print(Text(f"trace {record.traceparent.split('-')[1]}", style="dim"))
    if sys.stdout.isatty():
        console.print(Text(f"its lines: inferloom logs --request {record.request_id}", style="dim"))
