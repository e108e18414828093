"""What Tokenize reads."""

from types import SimpleNamespace
from typing import Any

import tokenizers
from tokenizers.processors import TemplateProcessing

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.rpc.tokens import tokenize
from inferloom_worker.text.bytes_tokenizer import END, bytes_tokenizer
from inferloom_worker.text.tokenizer import Tokenizer


def test_special_tokens_are_added_to_texts_and_where_asked_for_to_conversations() -> None:
    """A conversation's template carries its own."""
    backend = tokenizers.Tokenizer.from_str(bytes_tokenizer()._backend.to_str())
    end = backend.token_to_id(END)
    backend.post_processor = TemplateProcessing(single=f"$A {END}", special_tokens=[(END, end)])
    card = pb.Model(id="m", context_length=64)
    model: Any = SimpleNamespace(card=card, tokenizer=Tokenizer(backend), render=lambda chat: "x")
    turn = pb.ChatMessage(role=pb.ROLE_USER, parts=[pb.ContentPart(text="x")])
    chat = pb.ChatInput(messages=[turn])

    for fields, closed in (
        ({"text": "x"}, True),
        ({"text": "x", "add_special_tokens": False}, False),
        ({"chat": chat}, False),
        ({"chat": chat, "add_special_tokens": True}, True),
    ):
        ids = list(tokenize(pb.TokenizeRequest(model="m", **fields), model).token_ids)
        assert (ids == [120, end], ids == [120]) == (closed, not closed)
