"""What models' files say about tokens and templates, over real gRPC: honoured, or refused by name."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import sentencepiece
import tokenizers
from tokenizers import decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedModel

from inferloom.v1 import inference_pb2 as pb
from inferloom.v1 import worker_pb2
from inferloom_mesh.errors import Reason
from inferloom_worker.hosting import generator_loading
from tests.wire.running_worker import RunningWorker, chat_request, refused, running_worker
from tests.worker.gguf_files import write_gguf
from tests.worker.models import VOCABULARY, make_model, reference

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SAY_A = ALPHABET.index("a")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[RunningWorker]:
    """One worker for all tests."""
    async with running_worker("echo=echo:") as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def worker(running: RunningWorker) -> AsyncIterator[RunningWorker]:
    """One without the model that the test before loaded."""
    yield running
    if any(status.model.id == "m" for status in (await running.status()).models):
        await running.control.UnloadModel(worker_pb2.UnloadModelRequest(model="m"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    """A small Llama with 384 embeddings."""
    return reference(make_model(tmp_path_factory.mktemp("llama"), "llama"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The same as a folder, without a tokenizer."""
    return make_model(tmp_path / "m", "llama")


async def load(worker: RunningWorker, path: Path) -> None:
    """Load a model as ``m``."""
    await worker.control.LoadModel(worker_pb2.LoadModelRequest(model="m", spec=str(path)))


async def tokens(worker: RunningWorker, text: str, *, special: bool = True) -> list[int]:
    """What the model reads for a text."""
    request = pb.TokenizeRequest(model="m", text=text, add_special_tokens=special)
    return list((await worker.stub.Tokenize(request)).token_ids)


async def prompt(worker: RunningWorker, said: str) -> str:
    """What the model reads for a conversation."""
    chat = chat_request(said, model="m").chat
    return "".join((await worker.stub.Tokenize(pb.TokenizeRequest(model="m", chat=chat))).tokens)


def byte_pairs(*special: str, **changes: Any) -> dict[str, Any]:
    """A vocabulary of the 256 bytes and of ``special``, from 256 on."""
    return {
        "ggml.model": "gpt2",
        "ggml.pre": "gpt-2",
        "ggml.tokens": [*ALPHABET, *special, "qw"],
        "ggml.token_type": [1] * 256 + [3] * len(special) + [1],
        "ggml.merges": ["q w"],
        **{f"ggml.{key}": value for key, value in changes.items()},
    }


def pieces(**changes: Any) -> dict[str, Any]:
    """A vocabulary of SentencePiece's kind."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "▁a"]
    return {
        "ggml.model": "llama",
        "ggml.pre": "default",
        "ggml.tokens": tokens,
        "ggml.scores": [0.0] * 259 + [-3.0, -2.0, -1.0],
        "ggml.token_type": [2, 3, 3] + [6] * 256 + [1] * 3,
        "ggml.bos_token_id": 1,
        "ggml.eos_token_id": 2,
        **{f"ggml.{key}": value for key, value in changes.items()},
    }


async def test_full_width_special_tokens_of_a_gguf_file_are_its_own(
    worker: RunningWorker, model: PreTrainedModel, tmp_path: Path
) -> None:
    """DeepSeek's files: their special tokens have characters that no byte is spelled with."""
    names = ("<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>")
    ids = {"bos_token_id": 256, "add_bos_token": True, "eos_token_id": 258}
    await load(worker, write_gguf(model, tmp_path / "m.gguf", tokenizer=byte_pairs(*names, **ids)))

    assert await tokens(worker, "<｜User｜>a<｜Assistant｜>") == [256, 257, SAY_A, 258]


CASES: dict[str, tuple[dict[str, Any], str, list[int]]] = {
    "llama 3 without a flag": (byte_pairs("<|b|>", pre="llama-bpe", bos_token_id=256), "a", [256, SAY_A]),
    "a file's word against it": (
        byte_pairs("<|b|>", pre="llama-bpe", bos_token_id=256, add_bos_token=False),
        "a",
        [SAY_A],
    ),
    "no space before a text": (pieces(add_space_prefix=False), "a", [1, 260]),
    "a space before a text": (pieces(), "a", [1, 261]),
    "digits one by one": (
        byte_pairs("12", pre="deepseek-coder", token_type=[1] * 258, merges=["1 2"]),
        "12",
        [ALPHABET.index("1"), ALPHABET.index("2")],
    ),
    "a word that no merge makes": (
        byte_pairs("qx", "<|b|>", pre="llama-bpe", bos_token_id=257, token_type=[1] * 257 + [3, 1]),
        "qx",
        [257, 256],
    ),
}


@pytest.mark.parametrize(("tokenizer", "text", "ids"), CASES.values(), ids=CASES)
async def test_a_gguf_files_ids_are_those_of_llama_cpp(
    tokenizer: dict[str, Any],
    text: str,
    ids: list[int],
    worker: RunningWorker,
    model: PreTrainedModel,
    tmp_path: Path,
) -> None:
    """Begin tokens, spaces, splits and whole words as it has them."""
    await load(worker, write_gguf(model, tmp_path / "m.gguf", tokenizer=tokenizer))

    assert await tokens(worker, text) == ids


async def test_an_end_of_turn_is_known_by_its_text(
    worker: RunningWorker, model: PreTrainedModel, tmp_path: Path
) -> None:
    """A ChatML file that names another end token: the answer ends where the turn does."""
    with_ends = byte_pairs("<|endoftext|>", "<|im_start|>", "<|im_end|>", eos_token_id=256)
    await load(
        worker, write_gguf(model, tmp_path / "m.gguf", tokenizer=with_ends | {"chat_template": CHATML})
    )
    request = chat_request(
        "a",
        model="m",
        sampling=pb.SamplingOptions(temperature=0, logit_bias={258: 100.0}),
        stopping=pb.StoppingOptions(max_tokens=8),
    )
    answer = await worker.generate(request)

    assert answer.all("finished")[0].reason == pb.FINISH_REASON_STOP
    assert answer.tokens() == [258]


def _gguf(**changes: Any) -> Callable[[PreTrainedModel, Path], Path]:
    return lambda model, path: write_gguf(model, path / "m.gguf", tokenizer=byte_pairs(**changes))


def _folder(count: int = VOCABULARY, template: str | None = None) -> Callable[[PreTrainedModel, Path], Path]:
    def write(model: PreTrainedModel, path: Path) -> Path:
        make_model(path, "llama")
        if count:
            save_tokenizer(path, count)
        if template is not None:
            (path / "chat_template.jinja").write_text(template)
        return path

    return write


def save_tokenizer(path: Path, count: int = 300, special: str = "", **config: Any) -> None:
    """Write a tokenizer with ``count`` tokens into a folder."""
    vocabulary = {text: i for i, text in enumerate([*ALPHABET, *(f"q{i}" for i in range(count - 256))])}
    backend = tokenizers.Tokenizer(models.BPE(vocabulary, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([special] if special else [])
    backend.save(str(path / "tokenizer.json"))
    (path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **config})
    )


REFUSED: dict[str, tuple[Callable[[PreTrainedModel, Path], Path], str]] = {
    "an unknown split": (_gguf(pre="of-tomorrow"), "tokenizer.ggml.pre is 'of-tomorrow'."),
    "an encoder's tokenizer": (_gguf(model="bert"), "they are served from folders of safetensors files."),
    "tokens without an embedding": (
        _folder(VOCABULARY + 10),
        "the tokenizer has 394 tokens, and the model has embeddings for 384.",
    ),
    "no tokenizer": (
        _folder(0),
        "neither tokenizer.json nor tokenizer.model, spiece.model, sentencepiece.bpe.model.",
    ),
    "a template that leaves out the user": (
        _folder(template="{{ messages[0].role }}"),
        "the model's chat template leaves out what the user says.",
    ),
    "a template without an end": (
        _folder(template="{% for a in range(99999) %}" * 3 + "{% endfor %}" * 3),
        "did not end within 0.5 s on a short conversation.",
    ),
}


@pytest.mark.parametrize(("make", "ending"), REFUSED.values(), ids=REFUSED)
async def test_what_would_be_read_wrong_is_refused_at_load(
    make: Callable[[PreTrainedModel, Path], Path],
    ending: str,
    worker: RunningWorker,
    model: PreTrainedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In one sentence that says what it is, with one full stop."""
    monkeypatch.setattr(generator_loading, "TEMPLATE_LIMIT_S", 0.5)
    path = make(model, tmp_path)
    failure = await refused(worker.control.LoadModel(worker_pb2.LoadModelRequest(model="m", spec=str(path))))

    assert failure.reason is Reason.INVALID_ARGUMENT
    assert failure.message.endswith(ending)
    assert ".." not in failure.message


async def test_a_special_token_without_an_embedding_is_read_as_text(
    worker: RunningWorker, folder: Path
) -> None:
    """Gemma 3's files for text have one for images, past the last embedding; its text is a text like any."""
    save_tokenizer(folder, VOCABULARY, special="<image>")
    await load(worker, folder)
    spelled = [ALPHABET.index(letter) for letter in "<image>"]

    assert await tokens(worker, "<image>") == spelled


async def test_tokens_that_only_the_configuration_adds_are_read(worker: RunningWorker, folder: Path) -> None:
    """As transformers reads them."""
    save_tokenizer(folder, added_tokens_decoder={"300": {"content": "<|im_end|>", "special": True}})
    await load(worker, folder)

    assert await tokens(worker, "a<|im_end|>") == [SAY_A, 300]


async def test_a_template_that_takes_parts_gets_what_was_said(worker: RunningWorker, folder: Path) -> None:
    """As templates of models that see are written."""
    source = (
        "{% for m in messages %}<{{ m.role }}>"
        "{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}"
        "{% endfor %}"
    )
    save_tokenizer(folder)
    (folder / "chat_template.jinja").write_text(source)
    await load(worker, folder)

    assert await prompt(worker, "Hello THERE") == "<user>Hello THERE"


async def test_a_folder_with_only_a_sentencepiece_model_is_served(
    worker: RunningWorker, folder: Path
) -> None:
    """Its ids are those of transformers."""
    (folder / "lines.txt").write_text(
        "The capital of France is Paris.\nHello world, it is fine: 12345!\n" * 20
    )
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "lines.txt"),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=320,
        model_type="bpe",
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    await load(worker, folder)
    text = "Hello Paris of 5"

    assert await tokens(worker, text) == AutoTokenizer.from_pretrained(folder).encode(text)
