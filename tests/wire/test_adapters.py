"""Adapters as applications and operators meet them: by name through the gateway, and loaded at run time."""

import asyncio
from pathlib import Path

import openai
import pytest
from transformers import PreTrainedModel

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import worker_pb2
from inferloom_mesh.errors import Reason
from inferloom_worker.sourcing.sources import SourceError
from inferloom_worker.text.bytes_tokenizer import bytes_tokenizer
from tests.patience import PATIENCE_S
from tests.wire.adapted_mesh import AdaptedMesh, adapted_mesh, make_base
from tests.wire.running_worker import limited, refused, running_worker, text_request
from tests.worker.adapters import adapted_reference, make_adapter
from tests.worker.models import greedy, reference

PROMPT = "Once upon a time"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model."""
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random adapter of it."""
    return make_adapter(tmp_path_factory.mktemp("lora"), base)


@pytest.fixture(scope="module")
def expected(base: Path, adapter: Path) -> dict[str, str]:
    """What transformers and peft write, by the name that the tests give the adapter."""

    def text(model: PreTrainedModel) -> str:
        ids = greedy(model, list(PROMPT.encode()), 16)
        return bytes_tokenizer().decode(ids, skip_special_tokens=True)

    return {"base": text(reference(base)), "tuned": text(adapted_reference(base, adapter))}


async def complete(mesh: AdaptedMesh, model: str) -> str:
    """A greedy completion through the SDK; the answer names the model that was asked."""
    answer = await mesh.openai.completions.create(
        model=model, prompt=PROMPT, max_tokens=16, temperature=0, extra_body={"ignore_eos": True}
    )
    assert answer.model == model
    return answer.choices[0].text


async def test_an_application_chooses_an_adapter_by_its_name(
    base: Path, adapter: Path, expected: dict[str, str]
) -> None:
    """Calls of the base and of the adapter run side by side, each as in peft; the list shows whose it is."""
    async with adapted_mesh(base, adapters=(f"tuned=base={adapter}",)) as mesh:
        await mesh.until_listed("base", "tuned")
        listed = [(model.id, model.model_extra) async for model in mesh.openai.models.list()]
        answers = await asyncio.gather(*(complete(mesh, name) for name in ("base", "tuned") * 3))

    assert [(name, extra["parent"]) for name, extra in listed if extra] == [("base", None), ("tuned", "base")]
    assert answers == [expected["base"], expected["tuned"]] * 3
    assert expected["base"] != expected["tuned"]


async def test_adapters_come_and_go_while_others_stream(
    base: Path, adapter: Path, expected: dict[str, str]
) -> None:
    """A stream on the adapter that is unloaded runs to its end; new calls are refused at once, and its memory
    is freed when that stream has ended."""
    async with adapted_mesh(base, drain_limit_s=PATIENCE_S) as mesh:
        worker = mesh.worker
        empty = (await worker.status()).models[0].weights_bytes
        load = worker_pb2.LoadAdapterRequest(model="base", adapter="tuned", spec=str(adapter))
        loaded = await worker.control.LoadAdapter(load)
        assert list(loaded.model.adapters) == ["tuned"]
        await mesh.until_listed("base", "tuned")
        assert await complete(mesh, "tuned") == expected["tuned"]

        request = text_request(PROMPT, model="tuned", **limited(200, ignore_eos=True))
        running = aiter(worker.stub.Generate(request))
        assert (await anext(running)).started.model == "tuned"
        held = (await worker.status()).models[0].weights_bytes
        unload = worker_pb2.UnloadAdapterRequest(model="base", adapter="tuned")
        unloading = asyncio.ensure_future(worker.control.UnloadAdapter(unload))
        await mesh.until_listed("base")
        with pytest.raises(openai.APIStatusError) as caught:
            await complete(mesh, "tuned")
        rest = [event async for event in running]
        await unloading

        assert (caught.value.status_code, caught.value.code) == (404, "model_not_found")
        assert rest[-1].completed.usage.completion_tokens == 200
        assert await complete(mesh, "base") == expected["base"]
        assert held > empty
        async with asyncio.timeout(PATIENCE_S):
            while (await worker.status()).models[0].weights_bytes != empty:
                pass


async def test_an_adapter_that_cannot_be_served_is_the_callers_error(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    """With the field at fault and the reason; the worker serves on."""
    other = make_adapter(tmp_path / "wide", make_base(tmp_path / "other", hidden_size=96))
    dora = make_adapter(tmp_path / "dora", base, use_dora=True)
    cases = [
        ({"spec": str(other)}, Reason.INVALID_ARGUMENT, "spec", "48 outputs in the base model"),
        ({"spec": str(dora)}, Reason.INVALID_ARGUMENT, "spec", "DoRA"),
        ({"spec": "/no/where"}, Reason.INVALID_ARGUMENT, "spec", "does not exist"),
        ({"spec": ""}, Reason.INVALID_ARGUMENT, "spec", "required"),
        ({"adapter": "a b"}, Reason.INVALID_ARGUMENT, "adapter", "cannot be a model's name"),
        ({"adapter": "base"}, Reason.ALREADY_EXISTS, "adapter", "already"),
        ({"model": "nobody"}, Reason.MODEL_NOT_FOUND, "model", "does not exist"),
        ({"model": "echo"}, Reason.INVALID_ARGUMENT, "spec", "no weights to adapt"),
    ]
    async with running_worker(f"base={base}", "echo", dtype="float32", kv_cache_mib=8) as worker:
        for fields, reason, param, words in cases:
            values = {"model": "base", "adapter": "x", "spec": str(adapter), **fields}
            error = await refused(worker.control.LoadAdapter(worker_pb2.LoadAdapterRequest(**values)))
            assert (error.reason, error.param) == (reason, param), fields
            assert words in error.message
        unload = worker_pb2.UnloadAdapterRequest(model="base", adapter="x")
        error = await refused(worker.control.UnloadAdapter(unload))
        assert (error.reason, error.param) == (Reason.MODEL_NOT_FOUND, "adapter")
        models = (await worker.stub.ListModels(pb.ListModelsRequest())).models
        assert [model.id for model in models] == ["base", "echo"]
        assert (await worker.generate(text_request(PROMPT, model="base", **limited(2)))).all("completed")


async def test_a_worker_without_its_adapter_does_not_start(base: Path) -> None:
    """It says which."""
    with pytest.raises(SourceError, match="/no/where does not exist"):
        async with running_worker(f"base={base}", adapters=("x=base=/no/where",), dtype="float32"):
            pass
