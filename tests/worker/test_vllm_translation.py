"""A request in vLLM's parameters, its pieces as events, and what its engine's card says. Without vLLM."""

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.engine.constraint import ConstraintError, Mask, PortableConstraint
from inferloom_worker.engine.events import EndReason, PromptEvent, TokenLogprobs, TokensEvent
from inferloom_worker.engine.limits import TokenLimits
from inferloom_worker.engine.request import Committed, GenerationRequest
from inferloom_worker.engine.sampling import Sampling
from inferloom_worker.engines.vllm.backend import Piece
from inferloom_worker.engines.vllm.carried import KEY, read_carried
from inferloom_worker.engines.vllm.following import Following
from inferloom_worker.engines.vllm.pieces import logprobs, timing
from inferloom_worker.engines.vllm.structured import structured
from inferloom_worker.engines.vllm.translation import Asked, translate

GREEDY = Sampling(temperature=0.0)
SCHEMA = PortableConstraint(json.dumps({"grammars": [{"json_schema": {"type": "object"}}]}))


class Spelled:
    """A constraint that lets one text through, token by token."""

    def __init__(self, *tokens: int, portable: PortableConstraint = SCHEMA) -> None:
        self.tokens = tokens
        self.portable = portable

    def matcher(self) -> "Speller":
        """At its beginning."""
        return Speller(self.tokens)


class Speller:
    """How far it is."""

    def __init__(self, tokens: Sequence[int], ends: bool = True) -> None:
        self._left = list(tokens)
        self._ends = ends

    @property
    def ended(self) -> bool:
        """Never known: a stop token says so, or a token that may not come."""
        return False

    def fill(self, mask: Mask) -> bool:
        """The next token."""
        mask[:] = 0
        for token in self._left[:1]:
            mask[token // 32] |= 1 << token % 32
        return bool(self._left) or not self._ends

    def allowed(self, tokens: Sequence[int]) -> int:
        """Whether the first may come."""
        return int(list(tokens[:1]) == self._left[:1])

    def forced(self) -> Sequence[int]:
        """Nobody asks."""
        return ()

    def accept(self, token: int) -> None:
        """The next one."""
        if self._left[:1] != [token]:
            raise ConstraintError("no")
        del self._left[0]

    def replay(self, tokens: Sequence[int]) -> None:
        """Go by all of them."""
        for token in tokens:
            self.accept(token)

    def rollback(self, count: int) -> None:
        """Nobody asks."""
        raise AssertionError


def request(**fields: Any) -> GenerationRequest:
    """A request for ten tokens after three."""
    given: dict[str, Any] = {"prompt": [1, 2, 3], "max_tokens": 10, "stop_token_ids": frozenset({0})}
    return GenerationRequest(request_id="r", **(given | fields))


def test_a_greedy_request_is_vllms_own() -> None:
    """What ends it is told in full; text is not asked for."""
    asked = translate(request(sampling=GREEDY, min_tokens=4, top_logprobs=2), 0, carry=True)
    assert (asked.prompt, asked.committed, asked.structured) == ([1, 2, 3], 0, None)
    assert asked.parameters == {
        "max_tokens": 10,
        "stop_token_ids": [0],
        "ignore_eos": True,
        "detokenize": False,
        "logprobs": 2,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "repetition_penalty": 1.0,
        "min_tokens": 4,
        "temperature": 0.0,
    }


def test_a_greedy_request_goes_on_behind_its_tokens() -> None:
    """They are read like a prompt, and count."""
    asked = translate(request(sampling=GREEDY, min_tokens=4, committed={0: Committed([7, 8])}), 0, carry=True)
    assert (asked.prompt, asked.committed) == ([1, 2, 3, 7, 8], 2)
    assert (asked.parameters["max_tokens"], asked.parameters["min_tokens"]) == (8, 2)
    assert "extra_args" not in asked.parameters


CARRIED: list[dict[str, Any]] = [
    {"sampling": Sampling(seed=2**64 - 1, top_p=0.5, min_p=0.1, top_k=7)},
    {"sampling": Sampling(temperature=0.0, presence_penalty=0.5, logit_bias={5: -1.5})},
    {"sampling": Sampling(temperature=0.0, frequency_penalty=0.5)},
    {"sampling": GREEDY, "limits": TokenLimits({4, 5}, [[4, 5]]), "min_tokens": 3},
    {"sampling": GREEDY, "constraint": Spelled(7, 8, 9), "min_tokens": 3},
    {"sampling": GREEDY, "constraint": Spelled(7, 8, 9), "committed": {1: Committed([7])}},
]


@pytest.mark.parametrize("fields", CARRIED)
def test_what_vllm_cannot_continue_is_carried_whole(fields: dict[str, Any]) -> None:
    """All that a token depends on reaches the processor; vLLM takes the likeliest of what it leaves."""
    asking = request(n=2, **fields)
    asked = translate(asking, 1, carry=True)
    assert asked.parameters["temperature"] == 0.0
    assert not asked.parameters.keys() & {"seed", "min_tokens", "presence_penalty", "logit_bias"}
    told = json.loads(json.dumps(asked.parameters["extra_args"][KEY]))
    carried = read_carried(told, asked.prompt)
    assert (carried.choice, carried.committed) == (1, len(asking.committed.get(1, Committed(())).token_ids))
    got = carried.request
    assert (got.prompt, got.sampling, got.min_tokens) == (asking.prompt, asking.sampling, asking.min_tokens)
    assert got.stop_token_ids == asking.stop_token_ids
    assert (carried.constraint is not None) == asked.followed == ("constraint" in fields)
    if asking.limits is not None and got.limits is not None:
        assert got.limits.sequences == asking.limits.sequences
        assert got.limits.allowed is not None
        assert got.limits.allowed.tolist() == [4, 5]


def test_a_constraint_is_vllms_from_the_first_token_on() -> None:
    """Also of a request whose tokens are drawn by the processor, behind vLLM's mask."""
    asked = translate(request(sampling=GREEDY, constraint=Spelled(7)), 0, carry=True)
    assert asked.structured == {"json": '{"type": "object"}'}
    assert not asked.followed
    drawn = translate(request(constraint=Spelled(7)), 0, carry=True)
    assert drawn.structured is not None
    assert drawn.parameters["extra_args"][KEY]["constraint"] is None


@pytest.mark.parametrize(
    ("grammar", "found"),
    [
        ('{"grammars": [{"lark_grammar": "start: /a/"}]}', {"grammar": "start: /a/"}),
        ("start: /a/", {"grammar": "start: /a/"}),
        ("start: <|end|>", None),
        ("start: <[5]>", None),
        ("start: <think>", None),
        ('start: "::="', None),
        ('{"grammars": [{"lark_grammar": "a"}, {"lark_grammar": "b"}]}', None),
    ],
)
def test_what_vllms_structured_outputs_say(grammar: str, found: dict[str, str] | None) -> None:
    """Not what names special tokens, which vLLM checks without knowing them."""
    assert structured(PortableConstraint(grammar)) == found
    assert structured(PortableConstraint(grammar, stops=(5,))) is None


def test_what_nothing_carries_is_refused_by_name() -> None:
    """Where vLLM is left alone it draws with its own seeds, and does not go on with what its card excepts."""
    drawn = translate(request(sampling=Sampling(seed=2**64 - 1), n=2), 1, carry=False).parameters
    assert (drawn["seed"], "extra_args" in drawn) == (2**64 % 2**63, False)
    with pytest.raises(InferloomError, match="bars no words"):
        translate(request(limits=TokenLimits(None, [[4]])), 0, carry=False)
    with pytest.raises(InferloomError, match="does not go on"):
        translate(
            request(sampling=Sampling(presence_penalty=1.0), committed={0: Committed([7])}), 0, carry=False
        )
    with pytest.raises(InferloomError, match="cannot enforce"):
        translate(request(constraint=Spelled(7), min_tokens=2), 0, carry=False)


def events(asking: GenerationRequest, asked: Asked, *pieces: Piece) -> list[Any]:
    """What becomes of pieces."""
    following = Following(asking, 0, asked, 64)
    return [event for piece in pieces for event in following.take(piece)]


def test_pieces_become_events() -> None:
    """Tokens are numbered behind those of before, and vLLM's words for an end are ours."""
    asking = request(sampling=GREEDY, committed={0: Committed([7])})
    asked = translate(asking, 0, carry=True)
    assert events(asking, asked, Piece((8,)), Piece(()), Piece((9, 0), end="stop")) == [
        TokensEvent(0, 1, (8,)),
        TokensEvent(0, 2, (9, 0), end=EndReason.STOP_TOKEN),
    ]
    assert events(asking, asked, Piece((8,), end="length"))[-1].end is EndReason.LENGTH
    assert events(asking, asked, Piece((8,), end="stop"))[-1].end is EndReason.COMPLETE
    with pytest.raises(InferloomError):
        events(asking, asked, Piece((8,), end="error"))


def test_a_constraint_that_we_follow_ends_a_choice() -> None:
    """Where it is complete, before a token that is no part of it; not where it is merely stuck."""
    asking = request(sampling=GREEDY, constraint=Spelled(7, 8), min_tokens=1)
    asked = translate(asking, 0, carry=True)
    assert events(asking, asked, Piece((7, 8)), Piece((0,), end="stop"))[-1].end is EndReason.STOP_TOKEN
    ended = events(asking, asked, Piece((7, 8, 5, 5)))
    assert ended == [TokensEvent(0, 0, (7, 8), end=EndReason.COMPLETE)]
    stuck = request(
        sampling=GREEDY, constraint=Spelled(7, 8), committed={0: Committed([7], Speller([], False))}
    )
    with pytest.raises(InferloomError, match="leaves no token"):
        events(stuck, translate(stuck, 0, carry=True), Piece((5,)))


def test_where_nothing_may_come_is_said_to_the_caller() -> None:
    """A token stands there that ends nothing, be it one that the constraint allows, or the limits."""
    failing = Speller([1, 1])

    def fail(mask: Mask) -> bool:
        raise ConstraintError("too many states")

    failing.fill = fail  # type: ignore[method-assign]
    asking = request(
        sampling=GREEDY, constraint=Spelled(1, 1), committed={0: Committed([], failing)}, min_tokens=1
    )
    with pytest.raises(InferloomError, match="too many states") as failed:
        events(asking, translate(asking, 0, carry=True), Piece((1,)))
    assert failed.value.reason is Reason.INVALID_ARGUMENT
    for limits, tokens in (
        (TokenLimits([5], [[5]]), (1,)),
        (TokenLimits(None, [[4, 1]]), (4, 1)),
        (TokenLimits([5, 4], [[4, 5]]), (4, 1)),
    ):
        asking = request(sampling=GREEDY, limits=limits)
        with pytest.raises(InferloomError, match="none may come here") as nothing:
            events(asking, translate(asking, 0, carry=True), Piece(tokens))
        assert nothing.value.param == "sampling"
    free = request(sampling=GREEDY, limits=TokenLimits(None, [[4, 1]]))
    assert events(free, translate(free, 0, carry=True), Piece((1, 1))) == [TokensEvent(0, 0, (1, 1))]


def test_a_prompts_log_probabilities_come_before_its_tokens() -> None:
    """In parts; and where no token was asked for, none comes."""
    places = tuple(TokenLogprobs(-1.0, ()) for _ in range(300))
    asking = request(sampling=GREEDY, max_tokens=0, prompt_logprobs=0)
    asked = translate(asking, 0, carry=True)
    assert (asked.parameters["max_tokens"], asked.parameters["prompt_logprobs"]) == (1, 0)
    first, second, end = events(asking, asked, Piece((9,), prompt_logprobs=places, end="length"))
    assert isinstance(first, PromptEvent)
    assert (first.first, second.first, len(first.logprobs) + len(second.logprobs)) == (1, 257, 300)
    assert end == TokensEvent(0, 0, (), end=EndReason.LENGTH)


def test_log_probabilities_are_the_likeliest_in_order() -> None:
    """The chosen token's own is told whatever its rank; what cannot come has OpenAI's least value."""
    place = {
        5: SimpleNamespace(logprob=float("-inf"), rank=9),
        7: SimpleNamespace(logprob=-0.1, rank=1),
        6: SimpleNamespace(logprob=-2.0, rank=2),
    }
    assert logprobs([place], [5], 2) == [TokenLogprobs(-9999.0, ((7, -0.1), (6, -2.0)), 9)]
    assert logprobs([place], [7], 0) == [TokenLogprobs(-0.1, (), 1)]


def test_times_are_those_of_vllms_clock() -> None:
    """What has not been yet took no time."""
    stats = SimpleNamespace(queued_ts=1.0, scheduled_ts=3.0, first_token_ts=3.5, last_token_ts=0.0)
    told = timing(stats, 12)
    assert (told.cached_prompt_tokens, told.queue_s, told.prefill_s, told.decode_s) == (12, 2.0, 0.5, 0.0)
    assert timing(None, None).queue_s == 0.0
