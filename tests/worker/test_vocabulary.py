"""Vocabularies of each kind, as grammars see them."""

import json

import pytest
import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers

from inferloom_worker.constrain.compiler import GrammarCompiler
from inferloom_worker.constrain.grammar import Grammar, Kind
from inferloom_worker.constrain.vocabulary import vocabulary
from inferloom_worker.text.tokenizer import Tokenizer
from tests.worker.grammars import allowed_by


def word_level(*, eos: bool) -> Tokenizer:
    """A vocabulary of words, which no bytes are behind."""
    words = ["[UNK]", "</s>", "yes", "no", " ", "{", "}"]
    backend = tokenizers.Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s|[{}]"), "isolated")
    backend.decoder = decoders.Fuse()
    backend.add_special_tokens(["[UNK]", "</s>"])
    return Tokenizer(backend, eos_ids=[1] if eos else [])


def test_the_demo_models_vocabulary_is_read_as_it_is(smollm_tokenizer: Tokenizer) -> None:
    """With all of its ends, and the tokens that a text becomes."""
    known = vocabulary(smollm_tokenizer, smollm_tokenizer.vocab_size + 64)
    assert known.canonical
    assert known.ends == smollm_tokenizer.eos_ids
    assert known.tokens.vocab_size == known.width


@pytest.mark.parametrize("eos", [True, False])
@pytest.mark.parametrize("extra", [0, 25, 26])
def test_words_are_tokens_too(eos: bool, extra: int) -> None:
    """With and without a token that ends a text, and with logits that no token has."""
    tokenizer = word_level(eos=eos)
    width = tokenizer.vocab_size + extra
    compiler = GrammarCompiler(tokenizer, width)
    matcher = compiler.compile(Grammar(json.dumps(["yes", "yes no"]), kind=Kind.CHOICE)).matcher()
    assert allowed_by(matcher, width) == {2}
    matcher.accept(2)
    assert allowed_by(matcher, width) == {4} | ({1} if eos else set())
    matcher.accept(4)
    matcher.accept(3)
    assert matcher.ended
    assert allowed_by(matcher, width) is None
    matcher.rollback(2)
    assert not matcher.ended


def test_a_model_without_an_end_ends_where_nothing_may_follow(smollm_tokenizer: Tokenizer) -> None:
    """And otherwise goes on."""
    endless = Tokenizer(smollm_tokenizer._backend)
    for width in (endless.vocab_size, endless.vocab_size + 8):
        matcher = GrammarCompiler(endless, width).compile(Grammar("(ab){1,2}", kind=Kind.REGEX)).matcher()
        for token in endless.encode("ab", add_special_tokens=False):
            matcher.accept(token)
        after = allowed_by(matcher, width)
        assert after
        assert all(endless.token_bytes(token) in (b"a", b"ab") for token in after)


def test_markers_of_calls_and_reasoning_can_be_named(smollm_tokenizer: Tokenizer) -> None:
    """By name and by number, in grammars that are made for a model."""
    compiler = GrammarCompiler(smollm_tokenizer, smollm_tokenizer.vocab_size)
    matcher = compiler.compile(Grammar('start: <|im_start|> "x" <[2]>')).matcher()
    assert allowed_by(matcher, smollm_tokenizer.vocab_size) == {1}
    assert [1, *smollm_tokenizer.encode("x", add_special_tokens=False), 2] == list(matcher.forced())
