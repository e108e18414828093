"""Penalties, bias and barred tokens of many rows at once, beside one row at a time done plainly."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    MinNewTokensLengthLogitsProcessor,
    NoBadWordsLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
)

from inferloom_worker.engine.limits import TokenLimits
from inferloom_worker.engine.request import Committed, GenerationRequest
from inferloom_worker.engine.sampling import Sampling
from inferloom_worker.stepping import adjusting
from inferloom_worker.stepping.adjusting import adjust
from inferloom_worker.stepping.row import Row
from inferloom_worker.stepping.sequence import SequenceState
from tests.worker.engines import request

WIDTH = 40
STRIDE = 48
"""Of logits in memory: those of the kernels have padding behind them."""

tokens = st.integers(0, WIDTH - 1)
few = st.lists(tokens, min_size=1, max_size=3)
samplings = st.builds(
    Sampling,
    temperature=st.just(0.0),
    repetition_penalty=st.sampled_from([1.0, 1.3, 0.7]),
    presence_penalty=st.sampled_from([0.0, 0.0, 0.6, -1.3]),
    frequency_penalty=st.sampled_from([0.0, 0.0, 0.3, -0.1]),
    logit_bias=st.dictionaries(tokens, st.floats(-100, 100, width=32), max_size=3),
)
limits = st.none() | st.builds(
    TokenLimits,
    st.none() | st.sets(tokens, min_size=1),
    st.lists(few, max_size=3),
)
requests = st.builds(
    lambda prompt, **fields: request(prompt, 99, **fields),
    st.lists(tokens, min_size=1, max_size=12),
    sampling=samplings,
    limits=limits,
    min_tokens=st.sampled_from([0, 0, 3]),
    stop_token_ids=st.frozensets(tokens, max_size=2),
)


def choice_of(asked: GenerationRequest, choice: int = 0) -> SequenceState:
    """A choice, as an engine would hold it."""
    return SequenceState(asked, mailbox=None, choice=choice, arrival=0, submitted_at=0.0)  # type: ignore[arg-type]


def plainly(logits: Tensor, row: Row) -> Tensor:
    """What a row's request makes of its logits [WIDTH], all of the choice read anew."""
    asked = row.sequence.request
    assert isinstance(row.sequence, SequenceState)
    all_tokens = [*row.sequence.tokens, *row.draft]
    generated = all_tokens[len(asked.prompt) :]
    sampling, found = asked.sampling, logits.clone()
    for token in range(WIDTH):
        value = found[token]
        if sampling.repetition_penalty != 1.0 and token in all_tokens:
            value = value / sampling.repetition_penalty if value > 0 else value * sampling.repetition_penalty
        if count := generated.count(token):
            amount = sampling.frequency_penalty * torch.tensor(float(count)) + sampling.presence_penalty
            value = value - amount
        found[token] = value + sampling.logit_bias.get(token, 0.0)
    early = asked.stop_token_ids if len(generated) < asked.min_tokens else ()
    for token in early:
        found[token] = -torch.inf
    for *beginning, end in asked.limits.sequences if asked.limits else ():
        if generated[len(generated) - len(beginning) :] == beginning:
            found[end] = -torch.inf
    return found


def allowed_plainly(row: Row, mask: np.ndarray | None) -> set[int]:
    """The tokens that a row's request and its constraint allow."""
    found = set(range(WIDTH))
    if mask is not None:
        bits = np.unpackbits(mask.view(np.uint8), bitorder="little")
        found &= set(np.flatnonzero(bits).tolist())
    if (own := row.sequence.request.limits) is not None and own.allowed is not None:
        found &= set(own.allowed.tolist())
    return found


def check(rows: list[Row], seed: int, masks: list[np.ndarray | None] | None = None) -> None:
    """All rows at once, beside each plainly, to the last bit; what is behind the logits is left alone."""
    memory = 4.0 * torch.randn(len(rows), STRIDE, generator=torch.Generator().manual_seed(seed))
    logits, before = memory[:, :WIDTH], memory.clone()
    given_masks = None if masks is None else [None if each is None else each.copy() for each in masks]
    found = adjust(logits, rows, masks)
    for at, row in enumerate(rows):
        assert torch.equal(logits[at], plainly(before[at, :WIDTH], row))
        own = None if masks is None else masks[at]
        assert allowed_plainly(row, own) == allowed_bits(None if found is None else found[at])
    assert torch.equal(memory[:, WIDTH:], before[:, WIDTH:])
    for mask, copy in zip(masks or (), given_masks or (), strict=True):
        assert (mask is None) == (copy is None)
        assert mask is None or (mask == copy).all()


def allowed_bits(mask: np.ndarray | None) -> set[int]:
    """The tokens of a mask."""
    if mask is None:
        return set(range(WIDTH))
    assert mask.dtype == np.int32
    bits = np.unpackbits(mask.view(np.uint8), bitorder="little")[:WIDTH]
    return set(np.flatnonzero(bits).tolist())


@settings(max_examples=60)
@given(
    data=st.data(), asked=st.lists(requests, min_size=1, max_size=4), at_once=st.sampled_from([1, 20, 999])
)
def test_all_rows_at_once_are_as_each_by_itself(
    data: st.DataObject, asked: list[GenerationRequest], at_once: int
) -> None:
    """Step after step, with drafts that turn out right, wrong or half right, and masks of constraints."""
    choices = [choice_of(each) for each in asked]
    masks = st.none() | st.lists(st.integers(0, 2**31 - 1), min_size=2, max_size=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adjusting, "_AT_ONCE", at_once)
        for seed in range(4):
            rows: list[Row] = []
            for choice in choices:
                draft = tuple(data.draw(st.lists(tokens, max_size=3)))
                rows += [Row(choice, draft[:ahead]) for ahead in range(len(draft) + 1)]
            drawn = [data.draw(masks) for _ in rows]
            given_masks = [None if each is None else np.array(each, np.int32) for each in drawn]
            check(rows, seed, given_masks if any(each is not None for each in given_masks) else None)
            for choice in choices:
                choice.tokens += data.draw(st.lists(tokens, max_size=3))


@settings(max_examples=40)
@given(asked=requests, said=st.lists(tokens, max_size=30), seen=st.integers(0, 30))
def test_a_choice_that_goes_on_is_one_that_never_stopped(
    asked: GenerationRequest, said: list[int], seen: int
) -> None:
    """Tokens that another worker had committed count as generated, of each choice its own."""
    fields = {name: getattr(asked, name) for name in ("sampling", "limits", "min_tokens", "stop_token_ids")}
    whole = choice_of(request(asked.prompt, 99, n=2, **fields), choice=1)
    for token in said:
        check([Row(whole)], 0)
        whole.tokens.append(token)
    resumed = request(asked.prompt, 99, n=2, committed={1: Committed(said[:seen])}, **fields)
    other, fresh = choice_of(resumed, choice=1), choice_of(resumed)
    other.tokens += said[seen:]
    logits = 4.0 * torch.randn(1, WIDTH).repeat(2, 1)
    adjust(logits, [Row(whole), Row(other)])
    assert torch.equal(logits[0], logits[1])
    check([Row(fresh), Row(other), Row(whole)], 1)


def test_long_choices_keep_their_tables() -> None:
    """Whose arrays grow many times, under drafts too."""
    sampling = Sampling(temperature=0.0, repetition_penalty=1.2, frequency_penalty=0.1)
    choice = choice_of(request([3], 99, sampling=sampling))
    rng = np.random.default_rng(5)
    width = 3000
    for _ in range(12):
        choice.tokens += rng.integers(0, width, 70).tolist()
        draft = tuple(rng.integers(0, width, 200).tolist())
        logits = torch.randn(2, width)
        before = logits.clone()
        adjust(logits, [Row(choice, draft), Row(choice)])
        for values, was, said in zip(logits, before, ([*choice.tokens, *draft], choice.tokens), strict=True):
            wanted = RepetitionPenaltyLogitsProcessor(1.2)(torch.tensor([said]), was[None].clone())[0]
            wanted -= 0.1 * torch.bincount(torch.tensor(said[1:]), minlength=width)
            assert torch.equal(values, wanted)


def test_rows_together_are_what_transformers_makes_of_each() -> None:
    """Repetition, bias, words that must not come and a least length."""
    rng = np.random.default_rng(2)
    bias = {5: 1.5, 17: -2.0}
    bad = [[7], [8, 9], [8, 9, 10]]
    stops = frozenset({11, 12})
    rows: list[Row] = []
    for said in ([], [8], [8, 9], [1, 8, 9, 7, 7], rng.integers(0, WIDTH, 30).tolist()):
        sampling = Sampling(temperature=0.0, repetition_penalty=1.7, logit_bias=bias)
        fields = {"min_tokens": 4, "stop_token_ids": stops, "limits": TokenLimits(None, bad)}
        choice = choice_of(request([20, 21, 22], 99, sampling=sampling, **fields))
        choice.tokens += said
        rows.append(Row(choice))
    logits = 4.0 * torch.randn(len(rows), WIDTH, generator=torch.Generator().manual_seed(1))
    before = logits.clone()
    adjust(logits, rows)
    processors = LogitsProcessorList(
        [
            RepetitionPenaltyLogitsProcessor(1.7),
            SequenceBiasLogitsProcessor([[[token], value] for token, value in bias.items()]),
            NoBadWordsLogitsProcessor(bad),
            MinNewTokensLengthLogitsProcessor(3, 4, sorted(stops)),
        ]
    )
    for at, row in enumerate(rows):
        assert isinstance(row.sequence, SequenceState)
        wanted = processors(torch.tensor([row.sequence.tokens]), before[at : at + 1].clone())
        assert torch.equal(logits[at], wanted[0])


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0.0, repetition_penalty=1.5),
        Sampling(temperature=0.0, frequency_penalty=0.5),
        Sampling(temperature=0.0, logit_bias={WIDTH: 1.0}),
    ],
    ids=["repetition", "frequency", "bias"],
)
def test_a_token_outside_of_the_vocabulary_is_no_logit_of_a_neighbour(sampling: Sampling) -> None:
    """The step fails, and its requests are computed again one by one."""
    wrong = choice_of(request([3], 99, sampling=sampling))
    wrong.tokens.append(WIDTH)
    with pytest.raises(IndexError):
        adjust(torch.zeros(2, WIDTH), [Row(wrong), Row(choice_of(request([1], 9)))])


def test_choices_of_a_long_prompt_have_tables_when_they_need_them_and_share_what_is_the_prompts() -> None:
    """Those that wait have a copy of the prompt, at 8 bytes a token, and nothing more."""
    length, count = 10_000, 16
    asked = request(range(length), 99, n=count, sampling=Sampling(repetition_penalty=1.1))
    tracemalloc.start()
    try:
        choices = [choice_of(asked, choice) for choice in asked.choices]
        waiting = tracemalloc.get_traced_memory()[0] / (length * count)
        for each in choices:
            each.tokens.append(5)
            adjustment = each.adjustment
            assert adjustment is not None
            assert adjustment.penalties is not None
            tokens, _ = adjustment.penalties.after()
            assert len(tokens) == length
        running = tracemalloc.get_traced_memory()[0] / (length * count)
    finally:
        tracemalloc.stop()
    assert waiting < 10
    assert running < 40


def test_an_end_that_the_model_has_no_logit_for_needs_no_ban() -> None:
    """Tokenizers may have more tokens than their model."""
    early = choice_of(request([3], 99, min_tokens=2, stop_token_ids=frozenset({4, WIDTH + 1})))
    logits = torch.zeros(1, WIDTH)
    adjust(logits, [Row(early)])
    assert (logits[0] == -torch.inf).nonzero().tolist() == [[4]]
