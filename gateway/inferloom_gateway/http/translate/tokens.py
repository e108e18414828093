"""POST /tokenize, POST /detokenize and GET /tokenizer_info."""

from inferloom.v1 import inference_pb2 as pb
from inferloom_gateway.http.schema.tokens import DetokenizeRequest, TokenizeRequest
from inferloom_gateway.http.translate.conversation import conversation
from inferloom_gateway.http.translate.options import struct
from inferloom_gateway.http.translate.tools import tools
from inferloom_mesh.errors import invalid


def tokenize_request(body: TokenizeRequest) -> pb.TokenizeRequest:
    """The contract's request. Raises InferloomError unless there is exactly one input."""
    if (body.prompt is None) == (body.messages is None):
        raise invalid("prompt", "Exactly one of 'prompt' and 'messages' is required.")
    request = pb.TokenizeRequest(model=body.model, add_special_tokens=body.add_special_tokens)
    if body.messages is None:
        request.text = body.prompt or ""
        return request
    chat = conversation(
        body.messages,
        tools(body.tools),
        add_generation_prompt=body.add_generation_prompt,
        continue_final_message=body.continue_final_message,
        variables=struct("chat_template_kwargs", body.chat_template_kwargs),
    )
    request.chat.CopyFrom(chat)
    return request


def tokenize_answer(body: TokenizeRequest, response: pb.TokenizeResponse) -> dict[str, object]:
    """The response body."""
    return {
        "count": len(response.token_ids),
        "max_model_len": response.context_length,
        "tokens": list(response.token_ids),
        "token_strs": list(response.tokens) if body.return_token_strs else None,
    }


def detokenize_request(body: DetokenizeRequest) -> pb.DetokenizeRequest:
    """The contract's request."""
    return pb.DetokenizeRequest(
        model=body.model, token_ids=body.tokens, skip_special_tokens=body.skip_special_tokens
    )


def detokenize_answer(response: pb.DetokenizeResponse) -> dict[str, object]:
    """The response body."""
    return {"prompt": response.text}


def tokenizer_info(response: pb.GetTokenizerResponse) -> dict[str, object]:
    """The response body, in the names of ``tokenizer_config.json``; what that has not comes last."""
    return {
        "tokenizer_class": response.tokenizer_class,
        "chat_template": response.chat_template or None,
        "model_max_length": response.context_length,
        **dict(sorted(response.special_tokens.items())),
        "added_tokens_decoder": {
            str(token.id): {
                "content": token.content,
                "special": token.special,
                "lstrip": token.lstrip,
                "rstrip": token.rstrip,
                "single_word": token.single_word,
                "normalized": token.normalized,
            }
            for token in response.added_tokens
        },
        "add_bos_token": response.add_bos_token if response.HasField("add_bos_token") else None,
        "model": response.model,
        "tokenizer_hash": response.hash,
        "vocab_size": response.vocabulary_size,
        "eos_token_ids": list(response.end_token_ids),
    }
