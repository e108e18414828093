"""Choosing tokens: filters, penalties and reports against straightforward references."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from inferloom_worker.engine.constraint import WORD
from inferloom_worker.engine.limits import TokenLimits
from inferloom_worker.engine.sampling import Sampling
from inferloom_worker.stepping.mask_bits import barred_by, unpacked
from inferloom_worker.stepping.row import Row
from inferloom_worker.stepping.sampler import TorchChooser, sample
from inferloom_worker.stepping.sequence import SequenceState
from tests.worker.engines import request

VOCABULARY = 1000
CHOOSER = TorchChooser()


def row(generated: list[int] | None = None, draft: tuple[int, ...] = (), **fields: object) -> Row:
    """The next place of a sequence with a short prompt that has generated something."""
    asked = request([1, 2, 3], 50, **fields)
    sequence = SequenceState(asked, mailbox=None, choice=0, arrival=0, submitted_at=0.0)  # type: ignore[arg-type]
    sequence.tokens += generated or []
    return Row(sequence, draft)


def tokens_of(logits: torch.Tensor, rows: list[Row]) -> list[int]:
    """The tokens that are chosen."""
    return [sampled.token for sampled in sample(logits, rows, CHOOSER)]


def spiky(seed: int = 0) -> torch.Tensor:
    """Logits [1, VOCABULARY] with a wide spread."""
    return 3.0 * torch.randn(1, VOCABULARY, generator=torch.Generator().manual_seed(seed))


FILTERS = [
    Sampling(temperature=1.0, top_k=7),
    Sampling(temperature=0.7, top_p=0.8),
    Sampling(temperature=1.5, min_p=0.05),
    Sampling(temperature=1.0, top_k=40, top_p=0.9, min_p=0.02),
    Sampling(temperature=2.0, top_p=0.999),  # a nucleus beyond the candidates that are sorted at first
    Sampling(temperature=2.0, top_k=600, top_p=0.9),  # likewise, with a k beyond them
]


@pytest.mark.parametrize("sampling", FILTERS, ids=repr)
def test_filters_keep_what_transformers_keeps(sampling: Sampling) -> None:
    """Every token that is drawn passes transformers' filters, and the likely ones are all drawn."""
    warpers = LogitsProcessorList([TemperatureLogitsWarper(sampling.temperature)])
    if sampling.top_k:
        warpers.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        warpers.append(TopPLogitsWarper(sampling.top_p))
    if sampling.min_p:
        warpers.append(MinPLogitsWarper(sampling.min_p))
    probabilities = warpers(torch.tensor([[1]]), spiky()).softmax(-1)[0]
    draws = 3000
    rows = [row([0] * position, sampling=sampling) for position in range(draws)]
    tokens = tokens_of(spiky().repeat(draws, 1), rows)
    seen = Counter(tokens)
    assert all(probabilities[token] > 0 for token in seen)
    expected = probabilities * draws
    for token in (expected > 50).nonzero()[:, 0].tolist():
        assert abs(seen[token] - expected[token]) < 6 * expected[token] ** 0.5


def test_greedy_takes_the_likeliest() -> None:
    """Temperature 0 and top-k 1 both take the largest logit."""
    logits = spiky()
    rows = [row(sampling=Sampling(temperature=0.0)), row(sampling=Sampling(temperature=1.0, top_k=1))]
    assert tokens_of(logits.repeat(2, 1), rows) == [int(logits.argmax())] * 2


def test_the_repetition_penalty_is_transformers_own() -> None:
    """Tokens of prompt and completion are penalised once each."""
    said = row([5, 9, 9], sampling=Sampling(temperature=0.0, repetition_penalty=1.8))
    logits = torch.zeros(1, VOCABULARY)
    logits[0, 9], logits[0, 3], logits[0, 8] = 2.0, -1.0, 1.2
    tokens = torch.tensor([[1, 2, 3, 5, 9, 9]])
    expected = RepetitionPenaltyLogitsProcessor(1.8)(tokens, logits.clone())
    sample(logits, [said], CHOOSER)
    assert torch.equal(logits, expected)


def test_presence_and_frequency_count_only_the_completion() -> None:
    """Presence is taken once, frequency for each time; prompt tokens are untouched."""
    logits = torch.zeros(1, VOCABULARY)
    sample(
        logits,
        [row([5, 9, 9], sampling=Sampling(temperature=0.0, presence_penalty=0.5, frequency_penalty=0.25))],
        CHOOSER,
    )
    assert logits[0, [1, 5, 9]].tolist() == [0.0, -0.75, -1.0]


def test_bias_can_force_a_token() -> None:
    """A bias is added to its token's logit."""
    assert tokens_of(spiky(), [row(sampling=Sampling(temperature=0.0, logit_bias={77: 100.0}))]) == [77]


def test_stop_tokens_are_banned_before_min_tokens() -> None:
    """The likeliest token is passed over while it would end the choice too early."""
    logits = spiky()
    best = int(logits.argmax())
    early = row(min_tokens=2, stop_token_ids=frozenset({best}))
    late = row([4, 4], min_tokens=2, stop_token_ids=frozenset({best}))
    tokens = tokens_of(logits.repeat(2, 1), [early, late])
    assert tokens[0] != best
    assert tokens[1] == best


def test_reported_logprobs_ignore_temperature_and_penalties() -> None:
    """The report is of the model's own distribution."""
    logits = spiky()
    expected = logits.log_softmax(-1)[0]
    told = row([5], top_logprobs=2, sampling=Sampling(temperature=0.3, presence_penalty=2.0, seed=4))
    (sampled,) = sample(logits.clone(), [told], CHOOSER)
    report = sampled.logprobs
    assert report is not None
    assert report.logprob == pytest.approx(float(expected[sampled.token]))
    assert [t for t, _ in report.top] == expected.topk(2).indices.tolist()


def test_a_place_after_a_draft_is_chosen_as_if_the_draft_were_certain() -> None:
    """Penalties, the ban on early ends and the draw are those of the tokens so far with the draft's."""
    sampling = Sampling(temperature=0.8, repetition_penalty=1.3, frequency_penalty=0.7, seed=6)
    best = int(spiky().argmax())
    drafted, certain = (
        row(said, draft, sampling=sampling, min_tokens=4, stop_token_ids=frozenset({best}))
        for said, draft in (([5, best], (5, 9)), ([5, best, 5, 9], ()))
    )
    logits = spiky().repeat(2, 1)
    first, second = tokens_of(logits, [drafted, certain])
    assert first == second
    assert torch.equal(logits[0], logits[1])
    assert logits[0, best] > -torch.inf


settings_of_a_row = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.7, 1.5]),
    top_p=st.sampled_from([1.0, 0.9, 0.999]),
    top_k=st.sampled_from([0, 5, 600]),
    min_p=st.sampled_from([0.0, 0.05]),
    presence_penalty=st.sampled_from([0.0, 0.5]),
    seed=st.integers(0, 9),
)


@settings(max_examples=40)
@given(
    asked=st.lists(
        st.tuples(settings_of_a_row, st.none() | st.integers(0, 4), st.booleans(), st.booleans()),
        min_size=2,
        max_size=6,
    ),
    seed=st.integers(0, 99),
)
def test_a_row_is_chosen_as_it_would_be_alone(
    asked: list[tuple[Sampling, int | None, bool, bool]], seed: int
) -> None:
    """Whatever its neighbours ask for: filters, masks, lists of tokens, log-probabilities."""
    generator = torch.Generator().manual_seed(seed)
    logits = (
        torch.randn(len(asked), VOCABULARY, generator=generator)
        * torch.rand(len(asked), 1, generator=generator)
        * 6
    )
    rows, masks = [], []
    for sampling, top, limited, masked in asked:
        limits = TokenLimits(range(0, VOCABULARY, 3), [[6]]) if limited else None
        rows.append(row([5, 9], sampling=sampling, top_logprobs=top, limits=limits))
        masks.append(np.full(-(-VOCABULARY // WORD), 0x35353535, np.int32) if masked else None)
    together = sample(logits.clone(), rows, CHOOSER, masks)
    for at, found in enumerate(together):
        (alone,) = sample(logits[at : at + 1].clone(), rows[at : at + 1], CHOOSER, masks[at : at + 1])
        assert found.token == alone.token
        assert not asked[at][2] or (found.token % 3 == 0 and found.token != 6)
        assert not asked[at][3] or 0x35353535 >> found.token % WORD & 1
        if found.logprobs is None or alone.logprobs is None:
            assert found.logprobs is alone.logprobs is None
            continue
        assert (found.logprobs.logprob, found.logprobs.rank) == pytest.approx(
            (alone.logprobs.logprob, alone.logprobs.rank)
        )
        plain = logits[at].log_softmax(-1)
        assert found.logprobs.logprob == pytest.approx(float(plain[found.token]), abs=1e-5)
        assert found.logprobs.rank == 1 + int((logits[at] > logits[at, found.token]).sum())
        best = plain.topk(asked[at][1] or 0)
        assert [token for token, _ in found.logprobs.top] == best.indices.tolist()
        assert [value for _, value in found.logprobs.top] == pytest.approx(best.values.tolist(), abs=1e-5)


@given(st.lists(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=2, max_size=2), min_size=1, max_size=4))
def test_masks_are_unpacked_on_a_device_as_they_are_on_a_cpu(words: list[list[int]]) -> None:
    """The same bits, in the same order."""
    masks = np.array(words, np.int32)
    for width in (64, 37, 33):
        barred = barred_by(masks, width, torch.device("cpu"))
        assert torch.equal(unpacked(torch.from_numpy(masks.view(np.uint8)), width) == 0, barred)
        for mask, bits in zip(words, barred.tolist(), strict=True):
            assert bits == [not mask[token // WORD] >> token % WORD & 1 for token in range(width)]
