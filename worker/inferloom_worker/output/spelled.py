"""Log-probabilities in the contract's words: with the text and the bytes of tokens."""

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.engine.events import TokenLogprobs
from inferloom_worker.text.tokenizer import Tokenizer


def token_logprob(
    tokenizer: Tokenizer, token: int, at: TokenLogprobs | None, *, no_text: bool
) -> pb.TokenLogprob:
    """The entry of one token; None: nothing is known of it."""
    spelled = tokenizer.token_bytes(token)
    entry = pb.TokenLogprob(
        token_id=token, token=spelled.decode(errors="replace"), token_bytes=spelled, no_text=no_text
    )
    if at is not None:
        entry.logprob, entry.rank = at.logprob, at.rank
        entry.top.extend(_top(tokenizer, alternative, logprob) for alternative, logprob in at.top)
    return entry


def _top(tokenizer: Tokenizer, token: int, logprob: float) -> pb.TopLogprob:
    spelled = tokenizer.token_bytes(token)
    return pb.TopLogprob(
        token_id=token, logprob=logprob, token=spelled.decode(errors="replace"), token_bytes=spelled
    )
