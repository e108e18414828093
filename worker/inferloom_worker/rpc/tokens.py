"""Tokenize, Detokenize and GetTokenizer: what their threads do. Blocking."""

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.hosting.served import ServedModel
from inferloom_worker.text.tokenizer import Tokenizer
from inferloom_worker.validate import checks
from inferloom_worker.validate.bounds import check_token_count, most_tokens
from inferloom_worker.validate.chat import check_chat

TOKENIZER_CLASS = "PreTrainedTokenizerFast"
"""Transformers' class for every tokenizer that its ``tokenizers`` library runs, as it does all of ours."""

_AT_ONCE = 16 * 1024
"""Tokens that are copied into a message in one go: copying holds the GIL, which an event loop may want."""


def tokenize(request: pb.TokenizeRequest, model: ServedModel) -> pb.TokenizeResponse:
    """The tokens of a request with an input whose counts are in bounds.

    Raises:
        InferloomError: The conversation is not valid or the model reads none, or there are too many tokens.
    """
    card, tokenizer = model.card, _tokenizer(model)
    most = most_tokens(card.context_length)
    if request.HasField("chat"):
        check_chat(request.chat)
        param, text, special = "chat.messages", model.render(request.chat), False
    else:
        param, text, special = "text", request.text, True
    if request.HasField("add_special_tokens"):
        special = request.add_special_tokens
    check_token_count(param, tokenizer.fewest_tokens(text), most)
    ids = tokenizer.encode(text, add_special_tokens=special)
    check_token_count(param, len(ids), most)
    response = pb.TokenizeResponse(context_length=card.context_length)
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        response.token_ids.extend(some)
        response.tokens.extend([tokenizer.token_text(token) for token in some])
    return response


def detokenize(request: pb.DetokenizeRequest, model: ServedModel) -> pb.DetokenizeResponse:
    """The text of a request whose count is in bounds.

    Raises:
        InferloomError: A token is outside the vocabulary.
    """
    ids: list[int] = []
    if request.token_ids:
        ids = checks.token_ids("token_ids", request.token_ids, model.card.vocabulary_size)
    text = _tokenizer(model).decode(ids, skip_special_tokens=request.skip_special_tokens)
    return pb.DetokenizeResponse(text=text)


def describe(model: ServedModel) -> pb.GetTokenizerResponse:
    """A model's tokenizer."""
    card, tokenizer = model.card, _tokenizer(model)
    added = (
        pb.AddedToken(
            id=token_id,
            content=token.content,
            special=token.special,
            lstrip=token.lstrip,
            rstrip=token.rstrip,
            single_word=token.single_word,
            normalized=token.normalized,
        )
        for token_id, token in sorted(tokenizer.added_tokens.items())
    )
    return pb.GetTokenizerResponse(
        model=card.id,
        tokenizer_class=TOKENIZER_CLASS,
        hash=card.tokenizer_hash,
        vocabulary_size=card.vocabulary_size,
        context_length=card.context_length,
        special_tokens=tokenizer.special_tokens,
        end_token_ids=sorted(tokenizer.eos_ids),
        added_tokens=added,
        chat_template=tokenizer.chat_template or "",
        add_bos_token=tokenizer.add_bos,
    )


def _tokenizer(model: ServedModel) -> Tokenizer:
    assert model.tokenizer is not None  # as it has no remote texts
    return model.tokenizer
