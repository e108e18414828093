"""What parsers said, by its kinds."""

from dataclasses import dataclass, field

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.output.parsing import Said


@dataclass
class Heard:
    """All of each kind."""

    text: str = ""
    reasoning: str = ""
    tool_calls: list[pb.ToolCallDelta] = field(default_factory=list)


def heard(*all_said: Said) -> Heard:
    """What came to this, in order."""
    found = Heard()
    for said in all_said:
        for stretch in said.stretches:
            if stretch.kind.value == "text":
                found.text += stretch.text
            elif stretch.kind.value == "reasoning":
                found.reasoning += stretch.text
            found.tool_calls += stretch.calls
    return found
