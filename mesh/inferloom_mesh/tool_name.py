"""Names of tools, as the contract has them: who offers a tool, who holds a model to it and who reads its
calls go by the same."""

LONGEST_TOOL_NAME = 128
"""Characters."""

TOOL_NAME = rf"[A-Za-z0-9_-]{{1,{LONGEST_TOOL_NAME}}}"
"""A regular expression of a whole name."""
