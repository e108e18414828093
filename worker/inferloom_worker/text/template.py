"""Chat templates: a conversation becomes the prompt that a model was trained on.

Templates are programs that come with models. They run in a sandbox (``jinja_sandbox``), which gives them
strings, lists and dictionaries and nothing that reaches outside; an error of theirs is the request's error. A
render that takes too long is ended by the pool that runs it (``pool``).

Most templates take what is said as text. Those of models that see take it as a list of parts, one of which is
text, and say nothing of a text; which of the two is found out when the model is loaded.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import product
from typing import Any

from inferloom_mesh.errors import InferloomError, invalid, shown
from inferloom_worker.text.standing import Place

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

_CONTINUED = "CONTINUED_FINAL_MESSAGE "
_PROBE, _OTHER_PROBE = "7352918", "6140337"
_CALL = {"id": "a", "type": "function", "function": {"name": "a", "arguments": {}}}
_PROBES: dict[str, tuple[dict[str, Any], ...]] = {
    "user": ({"role": "user", "content": _PROBE},),
    "system": ({"role": "system", "content": _PROBE}, {"role": "user", "content": "a"}),
    "developer": ({"role": "developer", "content": _PROBE}, {"role": "user", "content": "a"}),
    "assistant": (
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": _PROBE},
        {"role": "user", "content": "a"},
    ),
    "tool": (
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "", "tool_calls": [_CALL]},
        {"role": "tool", "tool_call_id": "a", "content": _PROBE},
    ),
}
"""By role, a conversation in which it says something that can be found again."""

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
        self._parted: frozenset[str] = frozenset()
        """Roles whose words are given as parts."""
        self._unheard: frozenset[str] = frozenset()
        """Roles whose words are not in the prompt, or are refused."""
        self.standing = Place.ANYWHERE
        """Where standing instructions are taken."""

    def hears(self, role: str) -> bool:
        """Whether what a role says comes into the prompt."""
        return role not in self._unheard

    @cached_property
    def variables(self) -> frozenset[str]:
        """The names that the template reads and does not set itself."""
        from jinja2 import TemplateSyntaxError, meta

        from inferloom_worker.text.jinja_sandbox import parsed

        try:
            return frozenset(meta.find_undeclared_variables(parsed(self.source)))
        except TemplateSyntaxError:
            return frozenset()

    @property
    def knows_developer(self) -> bool:
        """Whether the template has a word for the developer role."""
        return "developer" in self.source and self.hears("developer")

    def check(self) -> None:
        """Compile it, which also makes the first request as fast as the others, and see who speaks in parts,
        and where standing instructions are taken.

        Raises:
            ValueError: It is no valid template, or leaves out what the user says.
        """
        from jinja2 import TemplateSyntaxError

        from inferloom_worker.text.jinja_sandbox import compiled

        try:
            compiled(self.source)
        except TemplateSyntaxError as failure:
            raise ValueError(f"the model's chat template is not valid: {failure}") from failure
        for role in _PROBES:
            as_text = self._says(role)
            if as_text:
                continue
            before, self._parted = self._parted, self._parted | {role}
            if self._says(role):
                log.info("the chat template takes what the %s says as a list of parts", role)
                continue
            self._parted = before
            self._unheard |= {role}
            if role == "user" and as_text is False:
                raise ValueError("the model's chat template leaves out what the user says")
        self.standing = self._find_place()
        if self.standing is not Place.ANYWHERE:
            log.info("where the chat template takes standing instructions: %s", self.standing.value)

    def _says(self, role: str) -> bool | None:
        """Whether what a role says is in the prompt. None: the template refuses the conversation."""
        return self._shows(_PROBES[role], _PROBE)

    def _shows(self, turns: Sequence[Mapping[str, Any]], *words: str) -> bool | None:
        """Whether these words of some turns are in the prompt. None: the template refuses the turns."""
        try:
            prompt = self.render(turns)
        except InferloomError:  # as a template may
            return None
        return all(word in prompt for word in words)

    def _find_place(self) -> Place:
        """Where the words of the system, and of the developer where the template knows one, are heard."""
        if not self.hears("system"):
            return Place.USER
        roles = ("system", "developer") if self.knows_developer else ("system",)
        user, answer = {"role": "user", "content": "a"}, {"role": "assistant", "content": "a"}
        for first, second in product(roles, repeat=2):
            leading = ({"role": first, "content": _PROBE}, {"role": second, "content": _OTHER_PROBE})
            if not self._shows((*leading, user), _PROBE, _OTHER_PROBE):
                return Place.FIRST
        for role in roles:
            if not self._shows((user, answer, {"role": role, "content": _PROBE}, user), _PROBE):
                return Place.LEADING
        return Place.ANYWHERE

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
        from jinja2 import TemplateError

        from inferloom_worker.text.jinja_sandbox import compiled

        turns = [self._turn(message) for message in messages]
        given = {"documents": None, **self._special_tokens, **(variables or {})}
        try:
            text = _mark_end(turns, self.source) if continue_final_message else ""
            prompt = compiled(self.source).render(
                **given,
                messages=turns,
                tools=[dict(tool) for tool in tools] or None,
                add_generation_prompt=add_generation_prompt,
            )
            if continue_final_message:
                prompt = _cut(prompt, text)
        except TemplateError as failure:
            raise _refused(
                f"The model's chat template refuses these messages: {shown(str(failure), 200)}"
            ) from failure
        except Exception as failure:  # a template is foreign code, and can raise anything
            log.debug("a chat template failed", exc_info=failure)
            if continue_final_message and isinstance(failure, ValueError):
                raise invalid(
                    "chat.template.continue_final_message", "The final message cannot be continued."
                ) from failure
            raise _refused("The model's chat template cannot render these messages.") from failure
        if len(prompt) > MAX_PROMPT_CHARS:
            raise _refused(f"The model's chat template makes a prompt of {len(prompt)} characters.")
        return prompt

    def _turn(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """A message as this template reads it."""
        turn = dict(message)
        if "reasoning_content" in turn:
            # gpt-oss's word for it; first, as transformers has it, for templates that print whole messages.
            turn = {"thinking": turn["reasoning_content"], **turn}
        if turn.get("role") in self._parted and isinstance(turn.get("content"), str):
            turn["content"] = [{"type": "text", "text": turn["content"]}]
        return turn


def _mark_end(turns: list[dict[str, Any]], source: str) -> str:
    """Put a mark after what the last turn says, and return what it says."""
    last = turns[-1] if turns else {}
    content = last.get("content")
    if content is None or "content" not in source:
        raise ValueError("there is nothing to continue")
    if isinstance(content, list):
        text = str(content[-1]["text"])
        last["content"] = [*content[:-1], {**content[-1], "text": text + _CONTINUED}]
    else:
        text = str(content)
        last["content"] = text + _CONTINUED
    return text


def _cut(prompt: str, text: str) -> str:
    """The prompt up to the mark; where the template took the space off the mark, without trailing space."""
    end = prompt.rfind(_CONTINUED.strip())
    if end < 0 or text.strip() not in prompt:
        raise ValueError("the template leaves out the final message")
    return prompt[:end] if prompt.startswith(_CONTINUED, end) else prompt[:end].rstrip()


def _refused(message: str) -> InferloomError:
    return invalid("chat.messages", message)
