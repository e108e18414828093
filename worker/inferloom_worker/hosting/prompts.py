"""What requests have of texts, as a model reads it."""

from copy import copy
from dataclasses import replace

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason, unsupported
from inferloom_worker.engine.prediction import NOTHING, Prediction
from inferloom_worker.hosting.dialect import Dialect
from inferloom_worker.hosting.engine_request import TokenizedPrompt, prompt_room, word_tokens
from inferloom_worker.text.infilling import infilling
from inferloom_worker.text.template import ChatTemplate
from inferloom_worker.text.tokenizer import Tokenizer
from inferloom_worker.validate.generate import (
    ChatPrompt,
    CompletionRequest,
    Prompt,
    TextPrompt,
    TokenPrompt,
    too_long,
)


class Prompts:
    """Renders and tokenises for one model. All of it blocks.

    Args:
        card: The model's: its name, and how much it reads.
        tokenizer: Its tokenizer.
        template: Makes a text of a conversation. None: there are none.
        dialect: How its template has tools and reasoning; there is one where there is a template.
        drafts: Whether what is expected of a completion is of use.
    """

    def __init__(
        self,
        card: pb.Model,
        tokenizer: Tokenizer,
        template: ChatTemplate | None,
        dialect: Dialect | None,
        *,
        drafts: bool,
    ) -> None:
        self._card = card
        self._tokenizer = tokenizer
        self._template = template
        self._dialect = dialect
        self._drafts = drafts
        self._infilling = infilling(tokenizer, tokenizer.named)

    def of(self, card: pb.Model) -> "Prompts":
        """The same for another model with this one's tokenizer and template."""
        other = copy(self)
        other._card = card
        return other

    def read(self, asked: CompletionRequest) -> TokenizedPrompt:
        """Render and tokenise all that a request has of texts.

        Raises:
            InferloomError: The template refuses the messages, there is none, or the text is too long.
        """
        prompt = self._prompt(asked)
        if not (asked.bad_words or asked.prediction):
            return prompt
        words = word_tokens(self._tokenizer, asked.bad_words)
        return replace(prompt, bad_words=words, prediction=self._expected(asked, len(prompt.ids)))

    def _prompt(self, asked: CompletionRequest) -> TokenizedPrompt:
        if asked.resume is not None and asked.resume.prompt_ids:
            return self._read_before(asked.prompt, asked.resume.prompt_ids)
        prompt = self.tokenize(asked.prompt, cut=asked.truncate is not None)
        kept = prompt_room(asked, self._card.context_length)
        if kept is not None and kept < len(prompt.ids):
            ids = prompt.ids[-kept:]
            prompt = TokenizedPrompt(ids, self._tokenizer.decode(ids, skip_special_tokens=False))
        return prompt

    def _read_before(self, prompt: Prompt, ids: list[int]) -> TokenizedPrompt:
        """A prompt that another worker has read."""
        text = self._tokenizer.decode(ids, skip_special_tokens=False)
        if isinstance(prompt, TextPrompt) and prompt.suffix and self._infilling is not None:
            return TokenizedPrompt(ids, prompt.text, ends=self._infilling.ends, reread=False)
        return TokenizedPrompt(ids, None if isinstance(prompt, TokenPrompt) else text, reread=False)

    def _expected(self, asked: CompletionRequest, prompt_tokens: int) -> Prediction:
        """What is expected of a completion, no more of it than there is room for."""
        room = max(self._card.context_length - prompt_tokens, 0)
        most = room if asked.stopping.max_tokens is None else min(asked.stopping.max_tokens, room)
        if not (asked.prediction and most and self._drafts):
            return NOTHING
        return Prediction(self._tokenizer.encode(asked.prediction, add_special_tokens=False)[:most])

    def tokenize(self, prompt: Prompt, *, cut: bool = False) -> TokenizedPrompt:
        """Render and tokenise a prompt, which is to be ``cut`` if it is too long.

        Raises:
            InferloomError: The template refuses the messages, there is none, or the text is too long.
        """
        if isinstance(prompt, TextPrompt) and prompt.suffix:
            return self._infill(prompt.text, prompt.suffix)
        if isinstance(prompt, TextPrompt):
            ids = self._encode("text", prompt.text, special=True, cut=cut)
            if not ids and self._tokenizer.bos_id is not None:
                ids = [self._tokenizer.bos_id]  # nothing to continue: a new document
            return TokenizedPrompt(ids, prompt.text)
        if isinstance(prompt, ChatPrompt):
            text = self.render(prompt.chat)
            return TokenizedPrompt(self._encode("chat.messages", text, special=False, cut=cut), text)
        return TokenizedPrompt(prompt.ids, None, reread=False)

    def _infill(self, text: str, suffix: str) -> TokenizedPrompt:
        if self._infilling is None:
            raise unsupported("suffix", f"The model '{self._card.id}' does not support suffix.")
        for param, part in (("text", text), ("suffix", suffix)):
            self._check_length(param, part)
        ids = self._infilling.ids(self._tokenizer, text, suffix)
        return TokenizedPrompt(ids, text, ends=self._infilling.ends)

    def render(self, chat: pb.ChatInput) -> str:
        """The text of a conversation.

        Raises:
            InferloomError: The template refuses the messages, or there is none.
        """
        if self._template is None:
            raise InferloomError(
                Reason.UNSUPPORTED_TASK,
                f"The model '{self._card.id}' has no chat template; send text or token ids.",
                param="chat",
            )
        assert self._dialect is not None  # as there is a template
        options = chat.template
        turns, tools = self._dialect.turns(chat)
        return self._template.render(
            turns,
            tools=tools,
            variables=self._dialect.variables(chat),
            add_generation_prompt=(
                options.add_generation_prompt
                if options.HasField("add_generation_prompt")
                else not options.continue_final_message
            ),
            continue_final_message=options.continue_final_message,
        )

    def _encode(self, param: str, text: str, *, special: bool, cut: bool = False) -> list[int]:
        if not cut:
            self._check_length(param, text)
        return self._tokenizer.encode(text, add_special_tokens=special)

    def _check_length(self, param: str, text: str) -> None:
        limit = self._card.context_length
        if (fewest := self._tokenizer.fewest_tokens(text)) > limit:
            raise too_long(param, fewest, limit, at_least=True)
