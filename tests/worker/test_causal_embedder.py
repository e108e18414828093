"""Vectors from models that generate."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModel

from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.errors import InferloomError, Reason
from inferloom_worker.embed.options import Caller, EmbedOptions
from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engine.protocol import Generation
from inferloom_worker.engine.request import GenerationRequest
from inferloom_worker.engines.torch.engine import TorchEngine
from inferloom_worker.hosting.generator import Generator
from inferloom_worker.hosting.load_options import LoadOptions
from inferloom_worker.hosting.model_loading import load_model
from inferloom_worker.stepping.batch import StepBatch
from tests.worker.embedding_models import HIDDEN, decoder, general_decoder, whole
from tests.worker.engines import generate, request
from tests.worker.test_embedding_models import WORDS, cosines


@asynccontextmanager
async def serving(
    folder: Path, dtype: Any = "float32", max_texts: int = 100, **options: Any
) -> AsyncIterator[Generator]:
    """A model that generates, from its folder."""
    engine = EngineOptions(dtype=dtype, device="cpu", **options)
    served = load_model(
        "m", str(folder), LoadOptions(engine=engine, embed=EmbedOptions(max_waiting=max_texts))
    )
    assert isinstance(served, Generator)
    yield served
    await asyncio.to_thread(served.close)


async def embed(served: Generator, texts: list[str]) -> NDArray[np.float32]:
    """Vectors, as the engine computes them."""
    assert served.embedder is not None
    ids = [served.embedder.reader.read("input", text, truncate=False) for text in texts]
    return await whole(served.embedder, ids)


def last_states(folder: Path, served: Generator, texts: list[str]) -> NDArray[np.float32]:
    """The last token's state of each text, read alone by transformers in float32."""
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    assert served.embedder is not None
    rows = []
    for text in texts:
        with torch.inference_mode():
            states = model(torch.tensor([served.embedder.reader.tokens(text)])).last_hidden_state
        rows.append(states[0, -1].numpy())
    return np.stack(rows)


@pytest.mark.parametrize("make", [decoder, general_decoder])
async def test_a_vector_is_the_last_tokens_state(make: Callable[[Path], Path], tmp_path: Path) -> None:
    """Transformers' own, on both paths: cosine of 0.9999 in float32 and 0.9995 in bfloat16, however texts are
    packed together and cut into chunks."""
    folder = make(tmp_path)
    for dtype, least in (("float32", 0.9999), ("bfloat16", 0.9995)):
        async with serving(folder, dtype, max_running=4, max_step_tokens=48) as served:
            vectors = await embed(served, WORDS)

            assert vectors.shape == (len(WORDS), HIDDEN)
            assert cosines(vectors, last_states(folder, served, WORDS)).min() >= least


async def test_a_model_generates_and_embeds_at_once(tmp_path: Path) -> None:
    """Its card says both, and neither changes what the other gives."""
    async with serving(decoder(tmp_path)) as served:
        asked = [request([5, 6, 7, number], 12) for number in range(4)]
        alone = [await generate(served.engine, one) for one in asked]
        vectors = await embed(served, WORDS)
        generating = asyncio.gather(*(generate(served.engine, one) for one in asked))
        beside, again = await asyncio.gather(generating, embed(served, WORDS))

        assert beside == alone
        assert cosines(again, vectors).min() >= 0.9999
        assert list(served.card.tasks) == [pb.TASK_COMPLETION, pb.TASK_EMBED]
        assert served.card.embedding_dimensions == HIDDEN


async def test_who_leaves_takes_its_texts_back(tmp_path: Path) -> None:
    """Cancelled texts leave the engine; then others are served."""
    async with serving(decoder(tmp_path), max_running=2) as served:
        assert served.embedder is not None
        gone = asyncio.create_task(whole(served.embedder, [[1] * 200] * 20))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone

        assert len(await embed(served, ["next"])) == 1
        assert served.engine.load().running == 0


async def test_texts_wait_in_a_bounded_queue(tmp_path: Path) -> None:
    """What does not fit is refused; a single request that is larger than the queue is not."""
    async with serving(decoder(tmp_path), max_texts=4, max_running=1) as served:
        assert served.embedder is not None
        running = asyncio.create_task(whole(served.embedder, [[1, 2]] * 5))
        await asyncio.sleep(0)
        with pytest.raises(InferloomError) as caught:
            await whole(served.embedder, [[1]])

        assert caught.value.reason is Reason.SERVER_OVERLOADED
        assert len(await running) == 5


async def test_a_text_that_cannot_be_computed_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named, and who shared a step with it gets vectors."""
    async with serving(decoder(tmp_path)) as served:
        assert isinstance(served.engine, TorchEngine)
        assert served.embedder is not None
        hidden = served.engine._model.hidden  # type: ignore[attr-defined] # it gives vectors

        def fails_at_seven(batch: StepBatch) -> torch.Tensor:
            if 7 in batch.token_tensor:
                raise RuntimeError("out of memory")
            states: torch.Tensor = hidden(batch)
            return states

        monkeypatch.setattr(served.engine._model, "hidden", fails_at_seven)
        good, bad = await asyncio.gather(
            whole(served.embedder, [[1, 2], [3, 4]]),
            whole(served.embedder, [[5, 6], [7, 8]]),
            return_exceptions=True,
        )

    assert isinstance(bad, InferloomError)
    assert (bad.reason, bad.param) == (Reason.SERVER_ERROR, "inputs[1]")
    assert isinstance(good, np.ndarray)
    assert len(good) == 2


async def test_an_engine_that_closes_ends_the_request(tmp_path: Path) -> None:
    """With WORKER_LOST, for the texts that wait as for those that are read."""
    async with serving(decoder(tmp_path), max_running=1) as served:
        await asyncio.to_thread(served.engine.close)
        with pytest.raises(InferloomError) as caught:
            await embed(served, ["a", "b"])

    assert caught.value.reason is Reason.WORKER_LOST


async def test_texts_that_are_left_at_once_take_no_room(tmp_path: Path) -> None:
    """Before what reads them has run for the first time."""
    async with serving(decoder(tmp_path), max_texts=4) as served:
        assert served.embedder is not None
        for _ in range(2):
            served.embedder.embed([[5]] * 4).close()
            await asyncio.sleep(0.01)
        assert (await embed(served, ["a b"])).shape == (1, HIDDEN)


async def test_tenants_share_no_state_of_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor a place in the line: the engine is told for whom it reads."""
    async with serving(decoder(tmp_path)) as served:
        assert served.embedder is not None
        seen: list[GenerationRequest] = []
        submit = served.engine.submit

        def noted(asked: GenerationRequest) -> Generation:
            seen.append(asked)
            return submit(asked)

        monkeypatch.setattr(served.engine, "submit", noted)
        await whole(served.embedder, [[5, 6]], Caller(tenant="t", share=2.0, cache_scope="s"))
        await whole(served.embedder, [[5, 6]])
        assert [(each.tenant, each.share, each.cache_salt) for each in seen] == [
            ("t", 2.0, "s\0"),
            ("", 1.0, ""),
        ]
