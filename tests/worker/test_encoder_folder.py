"""Encoders that are read without sentence-transformers, against sentence-transformers."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from inferloom_worker.embed import encoder_loading as loading
from inferloom_worker.embed.encoder_loading import KernelModel, load_encoder
from inferloom_worker.embed.files import UnknownFormError
from inferloom_worker.embed.folder import read_folder
from inferloom_worker.embed.model import SentenceModel
from inferloom_worker.embed.options import EmbedOptions
from inferloom_worker.embed.vectors import finish
from inferloom_worker.kernels.library import library
from tests.worker import embedding_models as forms
from tests.worker.folder_changes import (
    Change,
    edit,
    edit_tokenizer,
    halve,
    modules,
    old_names,
    remove,
    rename_weights,
    whole_numbers,
    write,
)
from tests.worker.texts import TEXTS

KERNELS = pytest.mark.skipif(library() is None, reason="this machine runs on torch alone")

SENTENCE, VECTORS = "sentence_bert_config.json", "config_sentence_transformers.json"
TOKENS, POOLING = "tokenizer_config.json", "1_Pooling/config.json"
PROMPTS = {"query": "find: ", "other": "keep: "}

READ: dict[str, tuple[Callable[[Path], Path], Change]] = {
    "mean without modules": (forms.bert, edit(TOKENS)),
    "cls": (forms.bert_cls, edit(TOKENS)),
    "lasttoken": (forms.bert_cls, edit(POOLING, pooling_mode=["lasttoken"])),
    "old flags": (forms.bert_cls, edit(POOLING, pooling_mode=..., pooling_mode_mean_tokens=True)),
    "no flags": (forms.bert_cls, edit(POOLING, pooling_mode=..., pooling_mode_cls_token=False)),
    "not normalised": (
        forms.bert_cls,
        modules("sentence_transformers.models.Transformer", "sentence_transformers.models.Pooling"),
    ),
    "a prompt": (forms.bert_cls, edit(VECTORS, prompts=PROMPTS, default_prompt_name="other")),
    "no default prompt": (forms.bert_cls, edit(VECTORS, prompts=PROMPTS)),
    "length of the module": (forms.bert_cls, edit(SENTENCE, max_seq_length=40)),
    "length of the tokenizer": (forms.bert_cls, edit(TOKENS, model_max_length=50)),
    "length of the positions": (forms.bert_cls, edit(TOKENS, model_max_length=...)),
    "length of the module alone": (forms.bert, edit(SENTENCE, max_seq_length=40)),
    "cut": (forms.bert_cls, edit(VECTORS, truncate_dim=32)),
    "may be cut": (forms.bert, edit("config.json", matryoshka_dimensions=[16, 32])),
    "with a head": (forms.bert, rename_weights(lambda name: f"bert.{name}")),
    "old names": (forms.bert, rename_weights(old_names)),
    "bfloat16": (forms.bert, halve),
}
"""Forms that the kernels compute."""


@KERNELS
@pytest.mark.parametrize("form", READ)
def test_a_folder_means_what_it_means_to_sentence_transformers(form: str, tmp_path: Path) -> None:
    """The same tokens, and vectors of a cosine of at least 0.9995."""
    make, change = READ[form]
    folder = make(tmp_path)
    change(folder)
    compare(folder, [text for text in TEXTS if len(text.encode()) < 200])


@KERNELS
@pytest.mark.parametrize("lowers", [False, True])
def test_the_demo_model_is_read_as_sentence_transformers_reads_it(
    lowers: bool, minilm_folder: Path, tmp_path: Path
) -> None:
    """Word pieces, with the tokenizer that transformers makes anew."""
    folder = copy(minilm_folder, tmp_path)
    edit(SENTENCE, do_lower_case=lowers)(folder)
    compare(folder, [*TEXTS, "ΟΔΟΣ İstanbul STRASSE [SEP] [sep] ÀÉ\u0301"])


def compare(folder: Path, texts: list[str]) -> None:
    """Compare what the kernels make of a folder with what sentence-transformers makes of it."""
    kernels = load_encoder(folder, EmbedOptions(device="cpu"))
    general = SentenceModel(folder, EmbedOptions(device="cpu"))
    assert isinstance(kernels, KernelModel)
    described = ("dimensions", "max_tokens", "vocab_size", "normalizes", "shortens", "batch_size")
    for name in described:
        assert getattr(kernels.info, name) == getattr(general.info, name), name
    assert kernels.reader.tokenizer.hash == general.reader.tokenizer.hash
    ids = [kernels.reader.read("input", text, truncate=True) for text in texts]
    assert ids == [general.reader.read("input", text, truncate=True) for text in texts]
    expected = SentenceTransformer(str(folder), device="cpu").encode(texts)
    dimensions = kernels.info.dimensions
    rows = finish(kernels.encode(ids), dimensions=dimensions, normalize=kernels.info.normalizes)
    assert rows.shape == expected.shape
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(expected, axis=1)
    assert (np.sum(rows * expected, axis=1) / lengths).min() >= 0.9995
    if kernels.info.normalizes and dimensions == 64:
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-4)


def copy(folder: Path, to: Path) -> Path:
    """A folder whose small files can be changed."""
    shutil.copytree(folder, to / "copy", ignore=shutil.ignore_patterns("*.safetensors"))
    (to / "copy/model.safetensors").symlink_to(folder / "model.safetensors")
    return to / "copy"


DECLINED: dict[str, Change] = {
    "another architecture": edit("config.json", model_type="roberta"),
    "no architecture": edit("config.json", model_type=...),
    "another activation": edit("config.json", hidden_act="gelu_new"),
    "a decoder": edit("config.json", is_decoder=True),
    "relative positions": edit("config.json", position_embedding_type="relative_key"),
    "code of its own": edit("config.json", auto_map={"AutoModel": "a.B"}),
    "quantised": edit("config.json", quantization_config={}),
    "no size": edit("config.json", hidden_size=...),
    "a size in words": edit("config.json", num_hidden_layers="six"),
    "fewer embeddings than tokens": edit("config.json", vocab_size=30000),
    "a projection": modules(
        *(f"sentence_transformers.models.{m}" for m in ("Transformer", "Pooling", "Dense"))
    ),
    "another order": modules(*(f"sentence_transformers.models.{m}" for m in ("Pooling", "Transformer"))),
    "a module of its own": modules("custom.Transformer", "sentence_transformers.models.Pooling"),
    "no pooling": modules("sentence_transformers.models.Transformer"),
    "another pooling": edit(POOLING, pooling_mode="max"),
    "two kinds of pooling": edit(POOLING, pooling_mode_cls_token=True),
    "an instruction that is left out": edit(POOLING, include_prompt=False),
    "pooling without a file": remove(POOLING),
    "normalised tokens": write("2_Normalize/config.json", '{"module_input_name": "token_embeddings"}'),
    "another kind of model": edit(VECTORS, model_type="SparseEncoder"),
    "a prompt that is not there": edit(VECTORS, default_prompt_name="query"),
    "other packages": edit(VECTORS, requirements=["x>1"]),
    "more tokens than positions": edit(SENTENCE, max_seq_length=1024),
    "another task": edit(SENTENCE, transformer_task="fill-mask"),
    "settings of the tokenizer": edit(SENTENCE, tokenizer_args={"use_fast": False}),
    "an adapter": write("adapter_config.json"),
    "messages": write("chat_template.json"),
    "tokens in another file": write("added_tokens.json"),
    "the module's file of another architecture": write("sentence_roberta_config.json"),
    "no tokenizer.json": remove("tokenizer.json"),
    "another tokenizer": edit(TOKENS, tokenizer_class="BertJapaneseTokenizer"),
    "a tokenizer that keeps capitals": edit(TOKENS, do_lower_case=False),
    "a tokenizer that keeps accents": edit(TOKENS, strip_accents=False),
    "a special token that is none": edit(TOKENS, mask_token="mask"),
    "a special token of two names": edit("special_tokens_map.json", cls_token="[SEP]"),
    "more special tokens": edit(TOKENS, additional_special_tokens=["[X]"]),
    "tokens that are listed otherwise": edit(TOKENS, added_tokens_decoder={"0": {"content": "[PAD]"}}),
    "another normaliser": edit_tokenizer(normalizer={"clean_text": False}),
    "other words": edit_tokenizer(pre_tokenizer={"type": "Whitespace"}),
    "no closing token": edit_tokenizer(post_processor={"single": []}),
    "longer words": edit_tokenizer(model={"max_input_chars_per_word": 50}),
    "not JSON": write("modules.json", "{"),
    "not a list": write("modules.json", "1"),
}
"""What keeps the demo model from being read without sentence-transformers."""


@pytest.mark.parametrize("form", DECLINED)
def test_what_is_not_understood_is_left_to_sentence_transformers(
    form: str, minilm_folder: Path, tmp_path: Path
) -> None:
    """One changed setting is enough."""
    folder = copy(minilm_folder, tmp_path)
    read_folder(folder)
    DECLINED[form](folder)
    with pytest.raises(UnknownFormError):
        read_folder(folder)


WEIGHTS: dict[str, Change] = {
    "a tensor is missing": rename_weights(lambda name: name.replace("layer.1.output.dense.bias", "other")),
    "a tensor is of another shape": edit("config.json", type_vocab_size=3),
    "a tensor is of another type": whole_numbers,
    "there is no such file": remove("model.safetensors"),
    "the kernels compute other sizes": edit("config.json", num_attention_heads=8),
}


@KERNELS
@pytest.mark.parametrize("case", WEIGHTS)
def test_weights_that_are_not_understood_are_left_to_sentence_transformers(case: str, tmp_path: Path) -> None:
    """Nothing is made up for them."""
    folder = forms.bert(tmp_path)
    KernelModel(folder, EmbedOptions())
    WEIGHTS[case](folder)
    with pytest.raises(UnknownFormError):
        KernelModel(folder, EmbedOptions())


@pytest.mark.parametrize(
    ("make", "dtype"), [(forms.instructor, "auto"), (forms.bert_dense, "auto"), (forms.bert, "float32")]
)
def test_the_rest_is_computed_by_sentence_transformers(
    make: Callable[[Path], Path], dtype: str, tmp_path: Path
) -> None:
    """Other forms, and types that are asked for."""
    assert isinstance(load_encoder(make(tmp_path), EmbedOptions(device="cpu", dtype=dtype)), SentenceModel)


def test_torch_is_asked_for_a_gpu_only_where_there_may_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver's file does not make a GPU yet; without one there is none."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(loading, "_GPUS", ("nothing*",))
    assert [loading.is_cpu(device) for device in ("auto", "cpu", "cuda", "cuda:1")] == [
        True,
        True,
        False,
        False,
    ]
    monkeypatch.setattr(loading, "_GPUS", ("nul*",))
    assert [loading.is_cpu(device) for device in ("auto", "cpu", "cuda")] == [False, True, False]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert loading.is_cpu("auto")
