"""Texts and tokens of a model whose tokenizer is its server's."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, unsupported
from inferloom_worker.engines.sidecar import reading
from inferloom_worker.engines.sidecar.client import Client
from inferloom_worker.engines.sidecar.facts import Facts
from inferloom_worker.engines.sidecar.failures import lost
from inferloom_worker.engines.sidecar.kinds import ServerKind
from inferloom_worker.engines.sidecar.messages import messages, tools, variables
from inferloom_worker.engines.sidecar.sse import MalformedError
from inferloom_worker.hosting.refusals import unsupported_task

LIMIT_S = 30.0


class ServerTexts:
    """Asks the server; only vLLM and llama-server can tell.

    Args:
        client: Speaks to it.
        facts: What it is.
        card: The model's card.
        judged: Says what a question ends with that failed.
    """

    def __init__(
        self,
        client: Client,
        facts: Facts,
        card: pb.Model,
        judged: Callable[[InferloomError], Awaitable[InferloomError]],
    ) -> None:
        self._client = client
        self._facts = facts
        self._card = card
        self._judged = judged

    async def tokenize(self, request: pb.TokenizeRequest) -> pb.TokenizeResponse:
        """The tokens of a valid request.

        Raises:
            InferloomError: UNSUPPORTED_TASK: the server does not tell; its refusal; WORKER_LOST.
        """
        match self._facts.kind:
            case ServerKind.VLLM:
                answer = await self._ask("/tokenize", self._vllm(request))
                try:
                    ids = reading.token_ids(answer.get("tokens"))
                    named = reading.items(answer.get("token_strs"), "token_strs", len(ids))
                    names = [reading.text(each, "a token") for each in named]
                except MalformedError as failure:
                    raise _odd(failure) from None
            case ServerKind.LLAMA:
                ids, names = await self._llama(request)
            case _:
                raise unsupported_task(self._card.id, "tell its tokens")
        if len(names) != len(ids):
            names = [""] * len(ids)
        return pb.TokenizeResponse(token_ids=ids, tokens=names, context_length=self._card.context_length)

    async def detokenize(self, request: pb.DetokenizeRequest) -> pb.DetokenizeResponse:
        """The text of tokens; errors as :meth:`tokenize`."""
        if request.skip_special_tokens:
            raise unsupported("skip_special_tokens", "The model's server leaves out no special tokens.")
        ids = list(request.token_ids)
        match self._facts.kind:
            case ServerKind.VLLM:
                body, name = {"model": self._facts.model, "tokens": ids}, "prompt"
            case ServerKind.LLAMA:
                body, name = {"tokens": ids}, "content"
            case _:
                raise unsupported_task(self._card.id, "tell the text of tokens")
        answer = await self._ask("/detokenize", body)
        try:
            return pb.DetokenizeResponse(text=reading.text(answer.get(name), name))
        except MalformedError as failure:
            raise _odd(failure) from None

    def describe(self) -> pb.GetTokenizerResponse:
        """Raises UNSUPPORTED_TASK: servers do not tell what their tokenizers are."""
        raise unsupported_task(self._card.id, "describe its tokenizer")

    def _vllm(self, request: pb.TokenizeRequest) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self._facts.model, "return_token_strs": True}
        if request.HasField("chat"):
            body |= self._chat(request.chat)
        else:
            body["prompt"] = request.text
        if request.HasField("add_special_tokens"):
            body["add_special_tokens"] = request.add_special_tokens
        return body

    async def _llama(self, request: pb.TokenizeRequest) -> tuple[list[int], list[str]]:
        text, special = request.text, True
        try:
            if request.HasField("chat"):
                answer = await self._ask("/apply-template", self._chat(request.chat))
                text, special = reading.text(answer.get("prompt"), "a prompt"), False
            if request.HasField("add_special_tokens"):
                special = request.add_special_tokens
            body = {"content": text, "add_special": special, "parse_special": True, "with_pieces": True}
            answer = await self._ask("/tokenize", body)
            pieces = [
                reading.obj(each, "a token") for each in reading.items(answer.get("tokens"), "tokens", 2**24)
            ]
            return reading.token_ids([piece.get("id") for piece in pieces]), [
                _piece(piece) for piece in pieces
            ]
        except MalformedError as failure:
            raise _odd(failure) from None

    def _chat(self, chat: pb.ChatInput) -> dict[str, Any]:
        body: dict[str, Any] = {"messages": messages(chat, self._facts.manner.reasoning)}
        if chat.tools:
            body["tools"] = tools(chat)
        options = chat.template
        for name in ("add_generation_prompt", "continue_final_message"):
            if options.HasField(name):
                body[name] = getattr(options, name)
        if options.continue_final_message:
            body["add_generation_prompt"] = False
        if options.variables.fields:
            body["chat_template_kwargs"] = variables(options.variables)
        return body

    async def _ask(self, path: str, body: object) -> Mapping[str, Any]:
        try:
            return await self._asked(path, body)
        except InferloomError as error:
            raise await self._judged(error) from None

    async def _asked(self, path: str, body: object) -> Mapping[str, Any]:
        answer = await self._client.ask(f"{self._client.address.root}{path}", body, limit_s=LIMIT_S)
        if answer.status != 200:
            raise self._client.refusal(answer)
        try:
            return answer.json()
        except MalformedError as failure:
            raise _odd(failure) from None


def _piece(told: Mapping[str, Any]) -> str:
    piece = told.get("piece")
    if isinstance(piece, str):
        return piece
    try:
        return bytes(reading.items(piece, "a token", 2**16)).decode(errors="replace")
    except (TypeError, ValueError):
        raise MalformedError("a token that is none") from None


def _odd(failure: MalformedError) -> Exception:
    return lost(f"it answered {failure}")
