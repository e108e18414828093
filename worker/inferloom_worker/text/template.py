"""Chat templates: a conversation becomes the prompt that a model was trained on.

Templates are programs that come with models. They run in a sandbox (``sandbox``), which gives them strings,
lists and dictionaries and nothing that reaches outside; an error of theirs is the request's error. A render
that takes too long is ended by the pool that runs it (``pool``).
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError

from inferloom_mesh.errors import InferloomError, invalid, shown
from inferloom_worker.text import sandbox

MAX_PROMPT_CHARS = 16 * 2**20
"""A rendered prompt over this is refused: no request that brought it can be this long."""

RESERVED = frozenset(
    {
        "messages",
        "conversations",
        "tools",
        "chat_template",
        "add_generation_prompt",
        "continue_final_message",
        "return_assistant_tokens_mask",
    }
)
"""Names that a request's template variables cannot have: they are how the template is called."""

log = logging.getLogger(__name__)


class ChatTemplate:
    """One model's chat template.

    Args:
        source: Jinja source.
        special_tokens: Variables such as ``bos_token`` that templates read.
    """

    def __init__(self, source: str, special_tokens: Mapping[str, str]) -> None:
        self.source = source
        self._special_tokens = special_tokens

    @property
    def knows_developer(self) -> bool:
        """Whether the template has a word for the developer role."""
        return "developer" in self.source

    def check(self) -> None:
        """Compile it, which also makes the first request as fast as the others.

        Raises:
            ValueError: It is no valid template.
        """
        try:
            self.render([{"role": "user", "content": "Hello"}])
        except InferloomError as refusal:  # a template may well refuse this conversation
            if isinstance(refusal.__cause__, TemplateSyntaxError):
                raise ValueError(f"the model's chat template is not valid: {refusal.__cause__}") from refusal

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        variables: Mapping[str, Any] | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
    ) -> str:
        """The prompt for ``messages``.

        Raises:
            InferloomError: INVALID_ARGUMENT at ``chat.messages``, when the template refuses the messages or
                fails on them.
        """
        try:
            prompt = sandbox.render(
                self.source,
                messages,
                {
                    "tools": [dict(tool) for tool in tools] or None,
                    "add_generation_prompt": add_generation_prompt,
                    **self._special_tokens,
                    **(variables or {}),
                },
                continue_final=continue_final_message,
            )
        except TemplateError as failure:
            raise _refused(
                f"The model's chat template refuses these messages: {shown(str(failure), 200)}"
            ) from failure
        except sandbox.ContinueError as failure:
            raise invalid(
                "chat.template.continue_final_message", "The final message cannot be continued."
            ) from failure
        except Exception as failure:  # a template is foreign code, and can raise anything
            log.debug("a chat template failed", exc_info=failure)
            raise _refused("The model's chat template cannot render these messages.") from failure
        if len(prompt) > MAX_PROMPT_CHARS:
            raise _refused(f"The model's chat template makes a prompt of {len(prompt)} characters.")
        return prompt


def _refused(message: str) -> InferloomError:
    return invalid("chat.messages", message)
