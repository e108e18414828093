"""Names of responses and of their items. An item's name tells which response it belongs to."""

import re
from dataclasses import dataclass

PREFIX = "resp_"

_ITEM = re.compile(r"[a-z]+_(?P<stem>[a-z0-9]{30})(?:in|out)\d{1,5}")
_PREFIXES = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "reasoning": "rs",
}


@dataclass(frozen=True, slots=True)
class Names:
    """Names the items of one response."""

    response_id: str

    def input(self, kind: str, index: int) -> str:
        """An item that was sent, by its place among them."""
        return self._item(kind, f"in{index}")

    def output(self, kind: str, index: int) -> str:
        """An item that was made, by its place among them."""
        return self._item(kind, f"out{index}")

    def _item(self, kind: str, place: str) -> str:
        return f"{_PREFIXES[kind]}_{self.response_id.removeprefix(PREFIX)}{place}"


def response_of(item_id: str) -> str | None:
    """The response that an item belongs to; None: its name is not of our making."""
    found = _ITEM.fullmatch(item_id)
    return None if found is None else PREFIX + found["stem"]
