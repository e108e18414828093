"""What a folder is, by its files: served as that, or refused by name."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGUFWriter
from safetensors.torch import load_file, save_file
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.modules import MLMTransformer, SpladePooling
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.embed.options import EmbedOptions
from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.hosting.load_options import LoadOptions
from inferloom_worker.hosting.model_loading import load_model
from inferloom_worker.sourcing.sources import SourceError
from tests.worker.embedding_models import bert, decoder
from tests.worker.folder_changes import edit

OPTIONS = LoadOptions(
    engine=EngineOptions(dtype="float32", kv_cache_bytes=0, max_running=2),
    embed=EmbedOptions(dtype="float32"),
)

SMALL: dict[str, Any] = {
    "vocab_size": 258,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
}
T5 = {"vocab_size": 258, "d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 2, "num_heads": 4}
BART: dict[str, Any] = {
    "vocab_size": 258,
    "d_model": 64,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 96,
    "decoder_ffn_dim": 96,
    "max_position_embeddings": 256,
}


def folder_of(kind: Any, path: Path, model_type: str, **fields: Any) -> Path:
    """A folder with a random model of a class, and a tokenizer."""
    torch.manual_seed(3)
    sizes = fields if model_type in ("t5", "bart") else SMALL | fields
    kind.from_config(AutoConfig.for_model(model_type, **sizes)).save_pretrained(path)
    tokens = bert(path.with_name(f"{path.name}-tokens"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokens / name, path / name)
    return path


def sparse(path: Path) -> Path:
    """SPLADE's form."""
    masked = folder_of(AutoModelForMaskedLM, path / "masked", "bert")
    encoder = SparseEncoder(modules=[MLMTransformer(str(masked)), SpladePooling()], device="cpu")
    encoder.save_pretrained(str(path / "sparse"), create_model_card=False)
    return path / "sparse"


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "reward model": (
        lambda path: folder_of(AutoModelForSequenceClassification, path, "llama", num_labels=1),
        r"a reward model, which is not served \(LlamaForSequenceClassification\)",
    ),
    "classifier": (
        lambda path: folder_of(AutoModelForSequenceClassification, path, "bert", num_labels=3),
        "is a classifier, which is not served",
    ),
    "token classifier": (
        lambda path: folder_of(AutoModelForTokenClassification, path, "bert"),
        "is a token classifier",
    ),
    "answers": (
        lambda path: folder_of(AutoModelForQuestionAnswering, path, "bert"),
        "finds answers in a text",
    ),
    "splade": (sparse, r"is a sparse encoder \(SPLADE\)"),
    "t5": (
        lambda path: folder_of(AutoModelForSeq2SeqLM, path, "t5", **T5),
        r"is an encoder-decoder \(T5ForConditionalGeneration\)",
    ),
    "bart": (
        lambda path: folder_of(AutoModelForSeq2SeqLM, path, "bart", **BART),
        r"is an encoder-decoder \(BartForConditionalGeneration\)",
    ),
}


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
def test_another_class_is_refused_by_name(make: Callable[[Path], Path], words: str, tmp_path: Path) -> None:
    """Its vectors or texts would mean nothing; the message says what it is."""
    folder = make(tmp_path / "m")
    with pytest.raises(SourceError, match=words):
        load_model("m", str(folder), OPTIONS)


def test_a_decoder_without_architectures_generates(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As AutoModelForCausalLM takes it: by its model_type, since there is a head. The log says so."""
    folder = decoder(tmp_path / "m")
    edit("config.json", architectures=...)(folder)
    with caplog.at_level(logging.INFO):
        served = load_model("m", str(folder), OPTIONS)
    served.close()
    assert pb.TASK_COMPLETION in served.card.tasks
    assert "taken for Qwen3ForCausalLM by its model_type" in caplog.text


def test_a_tied_decoder_without_architectures_generates(tmp_path: Path) -> None:
    """Its head is its embedding."""
    folder = decoder(tmp_path / "m")
    edit("config.json", architectures=..., tie_word_embeddings=True)(folder)
    tensors = load_file(folder / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    served = load_model("m", str(folder), OPTIONS)
    served.close()
    assert pb.TASK_COMPLETION in served.card.tasks


def test_an_encoder_without_architectures_gives_vectors(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It has no head to generate with, and the log says what it was taken for."""
    folder = bert(tmp_path / "m")
    edit("config.json", architectures=...)(folder)
    with caplog.at_level(logging.INFO):
        served = load_model("m", str(folder), OPTIONS)
    served.close()
    assert list(served.card.tasks) == [pb.TASK_EMBED]
    assert "taken for an encoder" in caplog.text


def test_a_folder_that_says_nothing_is_refused(tmp_path: Path) -> None:
    """Neither its class nor its type is known."""
    folder = bert(tmp_path / "m")
    (folder / "config.json").write_text(json.dumps({"hidden_size": 64}))
    with pytest.raises(SourceError, match="names neither architectures nor a model_type"):
        load_model("m", str(folder), OPTIONS)


@pytest.mark.parametrize(
    ("architecture", "metadata", "words"),
    [
        ("nomic-bert", {}, "is an embedding model .* served from their safetensors folders"),
        ("bert", {}, "is an embedding model"),
        ("t5", {}, "is an encoder-decoder"),
        ("llama", {"general.type": "adapter"}, "is a LoRA adapter; adapters are served as the folder"),
        ("clip", {"general.type": "mmproj"}, "sees images; name the file of its decoder"),
    ],
)
def test_a_gguf_file_of_another_class_is_refused_by_name(
    architecture: str, metadata: dict[str, str], words: str, tmp_path: Path
) -> None:
    """Before its tokenizer is looked for."""
    writer = GGUFWriter(tmp_path / "m.gguf", architecture)
    for key, value in metadata.items():
        writer.add_string(key, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(SourceError, match=words):
        load_model("m", str(tmp_path / "m.gguf"), OPTIONS)
