"""How one model speaks of tools and reasoning: chosen when it is loaded, by its own chat template.

From here come the conversation as its template reads it, the readers of its answers, and the grammar where it
must call.
"""

import json
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import invalid, unsupported
from inferloom_mesh.light_dataclasses import dataclass
from inferloom_worker.output.calls.form import ToolForm
from inferloom_worker.output.calls.forms import BY_NAME, CHANNELS, FORMS, GENERIC
from inferloom_worker.output.calls.ids import call_id, numbered, short_id
from inferloom_worker.output.calls.offer import Offer
from inferloom_worker.output.calls.prompt import Turn, describe, instruct, spell_calls
from inferloom_worker.output.formats import AUTO
from inferloom_worker.output.parsing import Parser, Reading
from inferloom_worker.output.reasoning import BY_NAME as REASONING
from inferloom_worker.output.reasoning import ReasoningReader, find_reasoning
from inferloom_worker.text.messages import template_messages, template_tools, template_variables
from inferloom_worker.text.standing import placed
from inferloom_worker.text.template import ChatTemplate
from inferloom_worker.text.tokenizer import Tokenizer
from inferloom_worker.text.tool_traits import ToolTraits, find_traits


def find_form(traits: ToolTraits) -> ToolForm:
    """The form in which a template writes calls; the generic one where it writes none that is known."""
    found = (form for form in FORMS if any(re.search(probe, traits.call) for probe in form.probes))
    return next(found, GENERIC)


@dataclass(frozen=True, slots=True)
class Calling:
    """What a conversation lets a model call: the tools that it may call, and whether and how often."""

    tools: Sequence[pb.Tool]
    must: bool
    most: int | None


def calling(chat: pb.ChatInput) -> Calling | None:
    """What a validated conversation says of calls. None: there are to be none."""
    if not chat.tools:
        return None
    choice = chat.tool_choice
    kind = choice.WhichOneof("choice")
    if kind == "mode" and choice.mode == pb.TOOL_CHOICE_MODE_NONE:
        return None
    names = {choice.function_name} if kind == "function_name" else set(choice.allowed_names)
    tools = [tool for tool in chat.tools if not names or tool.name in names]
    must = kind == "function_name" or choice.mode == pb.TOOL_CHOICE_MODE_REQUIRED
    alone = chat.HasField("parallel_tool_calls") and not chat.parallel_tool_calls
    return Calling(tools, must, 1 if alone or kind == "function_name" else None)


class Dialect:
    """One model's.

    Args:
        template: Its chat template, checked.
        tokenizer: Its tokenizer.
        tool_format: A name of :data:`~inferloom_worker.output.formats.TOOL_FORMATS`.
        reasoning_format: A name of :data:`~inferloom_worker.output.formats.REASONING_FORMATS`.
    """

    def __init__(
        self,
        template: ChatTemplate,
        tokenizer: Tokenizer,
        *,
        tool_format: str = AUTO,
        reasoning_format: str = AUTO,
    ) -> None:
        self._template = template
        self._tokenizer = tokenizer
        traits = find_traits(template)
        self.form = find_form(traits) if tool_format == AUTO else BY_NAME[tool_format]
        self.reasoning = (
            find_reasoning(template.source) if reasoning_format == AUTO else REASONING.get(reasoning_format)
        )
        if self.form is GENERIC and self.reasoning is not None and self.reasoning.name == CHANNELS.name:
            self.form = CHANNELS  # which tells reasoning and text apart as well
        self._traits = traits if find_form(traits) is self.form is not GENERIC else None
        """How the template writes calls in the form. None: it does not."""
        marks = self.form.marks + (self.reasoning.marks if self.reasoning else ())
        self.shown = frozenset(token for mark in marks if (token := tokenizer.added_id(mark)) is not None)
        """Tokens that are marks: their text is read, special or not."""
        self._variables = template.variables

    def token_of(self, mark: str) -> int | None:
        """The token that stands for a mark in grammars. None: none, so that its text does.

        To grammars, special tokens have no text, nor have those that are spelled like a tag.
        """
        token = self._tokenizer.added_id(mark)
        tag = mark.startswith("<") and mark.endswith(">")
        return token if token is not None and (tag or token in self._tokenizer.special_ids) else None

    # The conversation

    def turns(self, chat: pb.ChatInput) -> tuple[list[Turn], list[dict[str, Any]]]:
        """A validated conversation, and the functions beside it, as the template reads them."""
        traits = self._traits
        messages = template_messages(
            chat,
            knows_developer=self._template.knows_developer,
            traits=traits,
            call_id=short_id if self.form.short_ids else str,
        )
        messages = self._placed(messages, continued=chat.template.continue_final_message)
        if self.form.numbered:
            messages = numbered(messages)
        tools = template_tools(chat.tools) if calling(chat) is not None else []
        functions = [tool for tool in tools if tool["type"] == "function"]
        custom = [tool for tool in tools if tool["type"] == "custom"]
        native = traits is not None and traits.shows_tools
        words = describe(self.form, [] if native else functions, custom, tells_results=traits is None)
        spelled = spell_calls(messages, self.form if traits is None else None)
        turns = instruct(spelled, words, hears_system=self._template.hears("system"))
        return turns, functions if native else []

    def _placed(self, messages: list[Turn], *, continued: bool) -> list[Turn]:
        """The conversation as the template takes standing instructions. Raises InferloomError where the last
        turn is one that is to be continued, and would not be the last."""
        turns = placed(messages, self._template.standing)
        if continued and turns and turns[-1]["role"] != messages[-1]["role"]:
            param = "chat.template.continue_final_message"
            raise invalid(param, "The final message cannot be continued.")
        return turns

    def variables(self, chat: pb.ChatInput) -> dict[str, Any]:
        """The variables that the template is given besides.

        Raises:
            InferloomError: One of them asks for an effort in reasoning, and the template does not read it.
        """
        given = template_variables(chat)
        if "reasoning_effort" not in given or "reasoning_effort" in self._variables:
            return given
        if given.pop("reasoning_effort") != "none":
            param = "chat.template.variables.reasoning_effort"
            raise unsupported(param, f"{param} is not supported: the model's chat template does not read it.")
        if "enable_thinking" in self._variables:
            given.setdefault("enable_thinking", False)
        return given

    # The answer

    def opened(self, prompt: str | None) -> bool:
        """Whether a prompt ends within reasoning that has just begun."""
        marks = self.reasoning
        return marks is not None and prompt is not None and prompt.rstrip().endswith(marks.begin.strip())

    def reads_schemas(self, chat: pb.ChatInput) -> bool:
        """Whether :meth:`reading` reads the tools' schemas, which may be long: arguments between tags have no
        quotes, and the schemas tell texts from other values."""
        return self.form.tags is not None and calling(chat) is not None

    def reading(self, chat: pb.ChatInput, prompt: str | None, seed: int) -> Reading:
        """What reads the answer to a validated conversation, whose prompt and seed are given."""
        may = calling(chat)
        schemas: dict[str, Any] = {}
        if may is not None and self.form.tags is not None:
            schemas = {tool.name: json.loads(tool.parameters_json_schema or "{}") for tool in may.tools}
        readers = partial(self._readers, may, schemas, self.opened(prompt), seed)
        return Reading(readers, self.shown, calls_only=may is not None and may.must)

    def _readers(
        self, may: Calling | None, schemas: dict[str, Any], opened: bool, seed: int, choice: int
    ) -> Sequence[Parser]:
        readers: list[Parser] = []
        if self.reasoning is not None and not self.form.channels:
            readers.append(ReasoningReader(self.reasoning, opened=opened))
        if may is not None or self.form.channels:
            custom = {tool.name: tool.HasField("custom") for tool in may.tools} if may else {}
            most = None if may is None else may.most
            readers.append(self.form.reader(Offer(custom, partial(call_id, seed, choice), most, schemas)))
        return readers
