"""A query and a document read together."""

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.embed.pairs import PairReader, longest_first
from inferloom_worker.text.bytes_tokenizer import END, bytes_tokenizer
from inferloom_worker.text.tokenizer import Tokenizer
from inferloom_worker.validate.rerank import RankingRequest, read_rerank

MOST = 12
COUNTS = st.integers(0, 40)


def backend() -> tokenizers.Tokenizer:
    """A token for each byte, three special ones around two texts."""
    made = tokenizers.Tokenizer.from_str(bytes_tokenizer()._backend.to_str())
    end = made.token_to_id(END)
    made.post_processor = TemplateProcessing(
        single=f"{END} $A {END}", pair=f"{END} $A {END} $B:1 {END}:1", special_tokens=[(END, end)]
    )
    return made


@pytest.fixture
def reader() -> PairReader:
    """Reads twelve tokens."""
    return PairReader(Tokenizer(backend()), MOST)


def asked(*documents: str, query: str = "abc", **fields: object) -> RankingRequest:
    """A request, checked."""
    request = pb.RerankRequest(query=query, documents=documents, **fields)  # type: ignore[arg-type]
    return read_rerank(request)


@given(first=COUNTS, second=COUNTS)
def test_the_longer_text_is_cut_first(first: int, second: int) -> None:
    """As the tokenizers library cuts a pair, at every length of both."""
    library = backend()
    library.enable_truncation(MOST, strategy="longest_first")
    pair = library.encode("a" * first, "b" * second)
    kept = longest_first(first, second, MOST - 3)

    assert kept == (pair.ids.count(97), pair.ids.count(98))


def test_each_text_is_its_own_segment(reader: PairReader) -> None:
    """With the tokenizer's special tokens, whose segments it says too."""
    (pair,) = reader.read(asked("xy"))
    end = backend().token_to_id(END)
    assert list(pair.ids) == [end, 97, 98, 99, end, 120, 121, end]
    assert list(pair.segments) == [0, 0, 0, 0, 0, 1, 1, 1]


def test_a_pair_that_is_too_long_is_refused_or_cut(reader: PairReader) -> None:
    """Refused at its document; cut where that is asked for, the query of the others staying whole."""
    with pytest.raises(InferloomError) as caught:
        reader.read(asked("x", "y" * 40))
    assert (caught.value.reason, caught.value.param) == (Reason.CONTEXT_LENGTH_EXCEEDED, "documents[1]")
    assert "12 tokens, however you requested 46 tokens" in caught.value.message

    long, short = reader.read(asked("y" * 40, "x", query="q" * 7, truncate=True))
    assert (len(long), long.ids.count(113), long.ids.count(121)) == (MOST, 4, 5)
    assert len(short) == 7 + 1 + 3


def test_what_is_cut_off_is_not_joined_too(reader: PairReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Joining takes every part of the one that was cut off with every part of the other."""
    parts: list[int] = []
    joined = reader.tokenizer.joined

    def counted(first: tokenizers.Encoding, second: tokenizers.Encoding) -> tokenizers.Encoding:
        parts.extend((len(first.overflowing), len(second.overflowing)))
        return joined(first, second)

    monkeypatch.setattr(reader.tokenizer, "joined", counted)
    text = "\u00e4bc" * 100
    (pair,) = reader.read(asked(text, query=text, truncate=True))
    assert max(parts) <= 4
    assert list(pair.ids)[1:5] == list("\u00e4bc".encode())
    assert list(pair.ids)[6:11] == list("\u00e4bc\u00e4".encode())[:5]
    (short,) = reader.read(asked(text, query="q", max_document_tokens=1))
    assert len(short) == 3 + 1 + 1
    assert max(parts) < 20


def test_documents_and_pairs_can_be_bounded(reader: PairReader) -> None:
    """Documents by their own tokens, pairs by all of theirs."""
    (pair,) = reader.read(asked("y" * 40, max_document_tokens=2))
    assert len(pair) == 3 + 2 + 3
    (pair,) = reader.read(asked("y" * 40, max_tokens=7))
    assert len(pair) == 7
    (pair,) = reader.read(asked("y" * 40, max_tokens=1))
    assert len(pair) == 3  # no fewer than the special tokens
    with pytest.raises(InferloomError):
        reader.read(asked("y" * 40, max_tokens=500))  # the model's own limit, past which nothing was said


def test_a_query_for_each(reader: PairReader) -> None:
    """Pairs stand side by side."""
    request = read_rerank(pb.RerankRequest(queries=["a", "b"], documents=["c", "d"]))
    assert [pair.ids[1] for pair in reader.read(request)] == [97, 98]


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (pb.RerankRequest(query="q"), "documents"),
        (pb.RerankRequest(documents=["d"]), "query"),
        (pb.RerankRequest(query="q", queries=["q"], documents=["d"]), "queries"),
        (pb.RerankRequest(queries=["q", "q"], documents=["d"]), "queries"),
        (pb.RerankRequest(query="q", documents=["d"] * 1025), "documents"),
        (pb.RerankRequest(query="q", documents=["d"], top_n=0), "top_n"),
        (pb.RerankRequest(query="q", documents=["d"], max_tokens=0), "max_tokens"),
        (pb.RerankRequest(query="q", documents=["d"], max_document_tokens=0), "max_document_tokens"),
        (pb.RerankRequest(query="q", documents=["d"], request_id="a b"), "request_id"),
    ],
)
def test_a_bad_request_is_refused_at_its_field(request_: pb.RerankRequest, param: str) -> None:
    """Before anything is tokenised."""
    with pytest.raises(InferloomError) as caught:
        read_rerank(request_)
    assert (caught.value.reason, caught.value.param) == (Reason.INVALID_ARGUMENT, param)


def test_no_more_are_returned_than_there_are() -> None:
    """top_n may be larger."""
    assert [asked("a", "b", top_n=n).top_n for n in (1, 2, 9)] == [1, 2, 2]
    assert asked("a", "b").top_n == 2
