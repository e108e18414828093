"""The events of a response that is over, told in whole pieces."""

from collections.abc import Callable, Iterator

from inferloom_gateway.http.translate.responses.calls import Call, CustomCall
from inferloom_gateway.http.translate.responses.document import Document
from inferloom_gateway.http.translate.responses.items import Item
from inferloom_gateway.http.translate.responses.parts import Event, Growing, Message, Thought

_LAST = {"completed": "completed", "failed": "failed"}


def last_event(document: Document) -> Event:
    """The event that ends the stream of a response; one that was cancelled has none of its own."""
    return {"type": f"response.{_LAST.get(document['status'], 'incomplete')}", "response": document}


def replayed(document: Document) -> Iterator[Event]:
    """All events of a response that is over."""
    beginning = {**document, "status": "in_progress", "output": [], "completed_at": None, "error": None}
    beginning["incomplete_details"] = None
    beginning.pop("usage", None)
    for kind in ("created", "in_progress"):
        yield {"type": f"response.{kind}", "response": beginning}
    for index, item in enumerate(document["output"]):
        yield from _item(index, item)
    yield last_event(document)


def _item(index: int, item: Item) -> Iterator[Event]:
    growing, whole = _growing(index, item)
    yield from growing.begin()
    yield whole()
    yield from growing.end(item.get("status", "completed"))


def _growing(index: int, item: Item) -> tuple[Growing, Callable[[], Event]]:
    """An item that has nothing yet, and what gives it all that it had."""
    name = item["id"]
    match item["type"]:
        case "message":
            part, message = item["content"][0], Message(name, index)
            return message, lambda: message.more(part["text"], part["logprobs"])
        case "reasoning":
            sealed = item.get("encrypted_content")
            thought = Thought(name, index, None if sealed is None else lambda _: sealed)
            return thought, lambda: thought.more("".join(part["text"] for part in item["content"]))
        case "function_call":
            call = Call(name, index, item["call_id"], item["name"], item.get("namespace", ""))
            return call, lambda: call.more(item["arguments"])
        case _:
            custom = CustomCall(name, index, item["call_id"], item["name"], item.get("namespace", ""))
            return custom, lambda: custom.more(item["input"])
