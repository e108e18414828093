"""Batching texts of all callers."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.embed.batches import cut
from inferloom_worker.embed.embedder import Embedder
from inferloom_worker.embed.options import EmbedderInfo, EmbedOptions
from inferloom_worker.embed.reader import Reader
from inferloom_worker.embed.vectors import finish, pack
from inferloom_worker.text.bytes_tokenizer import bytes_tokenizer
from tests.patience import PATIENCE_S
from tests.worker.embedding_models import whole


class Model:
    """Vectors that say which text they are of: its length, and the size of its batch."""

    info = EmbedderInfo(
        dimensions=2,
        max_tokens=8,
        vocab_size=258,
        normalizes=False,
        shortens=False,
        dtype="float32",
        weights_bytes=0,
        batch_size=4,
    )

    def __init__(self) -> None:
        self.reader = Reader(bytes_tokenizer(), 8)
        self.batches: list[list[int]] = []
        self.going = threading.Event()
        self.release = threading.Event()
        self.release.set()
        self.failing = False
        self.strange: int | None = None
        """Texts of this length have vectors that are no numbers."""

    def encode(self, texts: list[list[int]]) -> NDArray[np.float32]:
        """Wait until released, then answer or fail."""
        self.going.set()
        assert self.release.wait(PATIENCE_S)
        if self.failing or [6] in texts:
            raise RuntimeError("broken")
        self.batches.append([len(text) for text in texts])
        rows = np.array([[len(text), len(texts)] for text in texts], dtype=np.float32)
        rows[[text == [7] or len(text) == self.strange for text in texts]] = np.nan
        return rows


@pytest.fixture
def model() -> Model:
    """The model."""
    return Model()


@pytest.fixture
def make(model: Model) -> Iterator[Callable[..., Embedder]]:
    """Makes embedders, and closes them."""
    made: list[Embedder] = []

    def build(**options: int) -> Embedder:
        made.append(Embedder(model, EmbedOptions(**{"batch_size": 4, "batch_tokens": 16, **options})))  # type: ignore[arg-type]
        return made[-1]

    yield build
    model.release.set()
    for embedder in made:
        embedder.close()


Make = Callable[..., Embedder]


async def test_rows_come_back_in_input_order(model: Model, make: Make) -> None:
    """However texts are sorted and cut, each gets its own row."""
    texts = [[1] * length for length in (3, 1, 7, 2, 5, 1)]
    embedded = await whole(make(), texts)

    assert list(embedded[:, 0]) == [3, 1, 7, 2, 5, 1]
    assert all(len(batch) <= 4 and max(batch) * len(batch) <= 16 for batch in model.batches)


async def test_callers_share_a_batch(model: Model, make: Make) -> None:
    """What arrives while a batch runs goes together into the next."""
    embedder = make()
    model.release.clear()
    calls = [asyncio.create_task(whole(embedder, [[1]]))]
    await asyncio.to_thread(model.going.wait, PATIENCE_S)
    calls += [asyncio.create_task(whole(embedder, [[1] * 2])) for _ in range(3)]
    await asyncio.sleep(0)
    assert (embedder.running, embedder.waiting) == (1, 3)
    model.release.set()
    await asyncio.gather(*calls)

    assert model.batches == [[1], [2, 2, 2]]


async def test_a_full_queue_refuses_and_the_next_is_fine(model: Model, make: Make) -> None:
    """Past the bound the answer is SERVER_OVERLOADED; what was accepted is answered."""
    embedder = make(max_waiting=2)
    model.release.clear()
    running = asyncio.create_task(whole(embedder, [[1]]))
    await asyncio.to_thread(model.going.wait, PATIENCE_S)
    waiting = asyncio.create_task(whole(embedder, [[1], [1]]))
    await asyncio.sleep(0)
    with pytest.raises(InferloomError) as caught:
        await whole(embedder, [[1]])
    model.release.set()

    assert caught.value.reason is Reason.SERVER_OVERLOADED
    assert [len(await call) for call in (running, waiting)] == [1, 2]


async def test_a_cancelled_caller_is_not_computed(model: Model, make: Make) -> None:
    """Who hung up while waiting costs nothing."""
    embedder = make()
    model.release.clear()
    running = asyncio.create_task(whole(embedder, [[1]]))
    await asyncio.to_thread(model.going.wait, PATIENCE_S)
    gone = asyncio.create_task(whole(embedder, [[1] * 5]))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    model.release.set()
    await running
    await whole(embedder, [[1] * 2])

    assert model.batches == [[1], [2]]


async def test_a_batch_that_fails_ends_only_its_own_requests(model: Model, make: Make) -> None:
    """Its callers get SERVER_ERROR, and the thread lives on."""
    embedder = make()
    model.failing = True
    with pytest.raises(InferloomError) as caught:
        await whole(embedder, [[1]])
    model.failing = False

    assert caught.value.reason is Reason.SERVER_ERROR
    assert len(await whole(embedder, [[1]])) == 1


@pytest.mark.parametrize("poison", [[6], [7]], ids=["an exception", "no finite numbers"])
async def test_a_text_that_fails_fails_alone(poison: list[int], model: Model, make: Make) -> None:
    """Callers that share its batch get their vectors; its own caller is told which input it was."""
    embedder = make()
    model.release.clear()
    first = asyncio.create_task(whole(embedder, [[1]]))
    await asyncio.to_thread(model.going.wait, PATIENCE_S)
    good = [asyncio.create_task(whole(embedder, [[1], [1, 1]])) for _ in range(2)]
    bad = asyncio.create_task(whole(embedder, [[1], poison]))
    await asyncio.sleep(0)
    model.release.set()

    assert [len(await call) for call in (first, *good)] == [1, 2, 2]
    with pytest.raises(InferloomError) as caught:
        await bad
    assert (caught.value.reason, caught.value.param) == (Reason.SERVER_ERROR, "inputs[1]")


async def test_vectors_come_as_they_are_computed(
    model: Model, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first batch's rows are there while the second is still computed."""
    encode, taken = model.encode, threading.Event()

    def encode_slowly(texts: list[list[int]]) -> NDArray[np.float32]:
        assert len(texts) == 4 or taken.wait(PATIENCE_S)
        return encode(texts)

    monkeypatch.setattr(model, "encode", encode_slowly)
    embedder = make()
    stream = embedder.embed([[1]] * 6)
    at, rows = await anext(stream)
    taken.set()
    assert at == 0
    assert rows == pytest.approx(np.array([[1, 4]] * 4))
    assert (await anext(stream))[0] == 4
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_closing_fails_what_waits(model: Model, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits, and what comes after, is WORKER_LOST."""
    embedder = make()
    model.release.clear()
    running = asyncio.create_task(whole(embedder, [[1]]))
    await asyncio.to_thread(model.going.wait, PATIENCE_S)
    waiting = asyncio.create_task(whole(embedder, [[1]]))
    await asyncio.sleep(0)
    join = embedder._thread.join

    def release_and_join() -> None:
        model.release.set()
        join()

    # It is closed when it waits for its thread; only then may the running batch go on.
    monkeypatch.setattr(embedder._thread, "join", release_and_join)
    await asyncio.to_thread(embedder.close)

    assert len(await running) == 1
    for lost in (waiting, whole(embedder, [[1]])):
        with pytest.raises(InferloomError) as caught:
            await lost
        assert caught.value.reason is Reason.WORKER_LOST


def test_an_input_that_is_too_long_is_cut_or_refused(make: Make) -> None:
    """Refused with the numbers and at its field, unless it may be cut."""
    embedder = make()

    assert embedder.reader.read("inputs[0]", "x" * 8, truncate=False) == [ord("x")] * 8
    assert embedder.reader.read("inputs[0]", [5] * 9, truncate=True) == [5] * 8
    with pytest.raises(InferloomError, match=r"8 tokens.*\(9 in inputs\[3\]\)") as caught:
        embedder.reader.read("inputs[3]", "x" * 9, truncate=False)
    assert (caught.value.reason, caught.value.param) == (Reason.CONTEXT_LENGTH_EXCEEDED, "inputs[3]")
    assert caught.value.message.startswith("This model's maximum context length is ")


@dataclass(frozen=True)
class Length:
    """A text, by its length."""

    length: int


@given(lengths=st.lists(st.integers(1, 50)), size=st.integers(1, 8), tokens=st.integers(1, 100))
def test_batches_hold_every_text_once_within_bounds(lengths: list[int], size: int, tokens: int) -> None:
    """No text is lost; a batch over the token bound is one text alone."""
    batches = list(cut([Length(n) for n in lengths], size=size, tokens=tokens))

    assert sorted(lengths) == sorted(item.length for batch in batches for item in batch)
    for batch in batches:
        assert len(batch) <= size
        assert len(batch) == 1 or max(item.length for item in batch) * len(batch) <= tokens


def test_vectors_are_cut_then_scaled() -> None:
    """The leading part has unit length again; a zero row stays zero; unscaled rows stay as they are."""
    rows = np.array([[3, 4, 12], [0, 0, 5]], dtype=np.float32)

    np.testing.assert_allclose(finish(rows, dimensions=2, normalize=True), np.array([[0.6, 0.8], [0, 0]]))
    np.testing.assert_array_equal(finish(rows, dimensions=3, normalize=False), rows)


def test_vectors_are_packed_as_little_endian_floats() -> None:
    """Four bytes per number."""
    rows = np.array([[1.0, -2.0], [0.5, 0.0]], dtype=np.float32)
    assert pack(rows) == [b"\x00\x00\x80?\x00\x00\x00\xc0", b"\x00\x00\x00?\x00\x00\x00\x00"]


async def test_a_vector_that_is_no_numbers_fails_its_own_request(model: Model) -> None:
    """It is never answered as nulls, and the texts beside it are answered."""
    model.strange = 3
    embedder = Embedder(model, EmbedOptions())
    try:
        bad, good = await asyncio.gather(
            whole(embedder, [[1, 2], [1, 2, 3]]), whole(embedder, [[1, 2]]), return_exceptions=True
        )
    finally:
        embedder.close()
    assert isinstance(bad, InferloomError)
    assert bad.reason is Reason.SERVER_ERROR
    assert not isinstance(good, BaseException)
    assert good[0, 0] == 2
