"""The names of formats that a model can be said to have."""

from inferloom_worker.output.calls.forms import BY_NAME
from inferloom_worker.output.reasoning import BY_NAME as REASONING

AUTO, NONE = "auto", "none"

TOOL_FORMATS = (AUTO, *BY_NAME)
"""How calls are written; ``auto``: as the chat template shows it."""

REASONING_FORMATS = (AUTO, NONE, *REASONING)
"""How reasoning is marked; ``none``: it is text as any other."""
