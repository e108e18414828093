"""Cross-encoders that the kernels compute, against sentence-transformers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.embed.files import UnknownFormError
from inferloom_worker.embed.native_pairs import NativePairModel
from inferloom_worker.embed.options import EmbedOptions
from inferloom_worker.embed.pair_folder import read_pair_folder
from inferloom_worker.embed.pair_loading import load_pair_model
from inferloom_worker.embed.pair_ranker import PairModel
from inferloom_worker.embed.pairs import Pair
from inferloom_worker.kernels.library import KernelError, library
from inferloom_worker.validate.rerank import read_rerank
from tests.worker import cross_encoders as forms
from tests.worker.folder_changes import Change, edit, halve, modules, old_names, rename_weights, write

pytestmark = pytest.mark.skipif(library() is None, reason="this machine runs on torch alone")

OPTIONS = EmbedOptions(device="cpu", threads=2)
DOCUMENTS = ["a", "the quick brown fox", "été 🌍", "x" * 400, "", "what is it?"]
SENTENCE, SETTINGS, TOKENS = (
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "tokenizer_config.json",
)
PROMPTS = {"web": "find: ", "other": "keep: "}

READ: dict[str, tuple[Callable[[Path], Path], Change]] = {
    "without a mark": (forms.bert, edit("config.json")),
    "no activation": (forms.bert_identity, edit("config.json")),
    "another activation": (forms.bert_tanh, edit("config.json")),
    "an old activation": (forms.old_activation, edit("config.json")),
    "a mark of version 4": (
        forms.bert,
        edit("config.json", sentence_transformers={"version": "4.0.1", "activation_fn": "torch.nn.Identity"}),
    ),
    "length of the module": (forms.bert_identity, edit(SENTENCE, max_seq_length=40)),
    "length of the positions": (forms.bert, edit(TOKENS, model_max_length=...)),
    "a prompt": (forms.bert_identity, edit(SETTINGS, prompts=PROMPTS, default_prompt_name="web")),
    "old names": (forms.bert, rename_weights(old_names)),
    "bfloat16": (forms.bert, halve),
}
NOT_READ: dict[str, tuple[Callable[[Path], Path], Change]] = {
    "another model": (forms.roberta, edit("config.json")),
    "another activation": (forms.bert_identity, edit(SETTINGS, activation_fn="torch.nn.ReLU")),
    "no segments": (forms.bert, edit(TOKENS, model_input_names=["input_ids", "attention_mask"])),
    "more modules": (forms.bert_identity, modules("sentence_transformers.base.modules.transformer.Other")),
    "a setting": (forms.bert_identity, edit(SETTINGS, backend="onnx")),
    "a transformer's setting": (forms.bert_identity, edit(SENTENCE, unpad_inputs=True)),
    "a config's setting": (forms.bert, edit("config.json", hidden_act="relu")),
    "a transformer's file alone": (forms.bert, edit(SENTENCE, max_seq_length=40)),
    "a settings file alone": (forms.bert, edit(SETTINGS, prompts=PROMPTS, default_prompt_name="web")),
    "no task": (forms.bert_identity, edit(SENTENCE, transformer_task=...)),
    "a file": (forms.bert, write("chat_template.jinja", "{{ messages }}")),
    "no head": (forms.bert, rename_weights(lambda name: name.replace("pooler", "other"))),
}


def rows_of(model: PairModel, query: str, *documents: str) -> np.ndarray:
    """What the model gives for a query and documents, cut where they are too long."""
    request = pb.RerankRequest(query=query, documents=documents, truncate=True)
    return model.encode(model.reader.read(read_rerank(request)))


@pytest.mark.parametrize(("form", "change"), READ.values(), ids=READ)
def test_scores_are_sentence_transformers_own(
    form: Callable[[Path], Path], change: Change, tmp_path: Path
) -> None:
    """As near as rounded weights let them be, and the pairs are made of the same tokens."""
    folder = form(tmp_path / "m")
    change(folder)
    reference = CrossEncoder(str(folder), device="cpu", local_files_only=True)
    exact = load_pair_model(folder, EmbedOptions(device="cpu", dtype="float32"))
    model = load_pair_model(folder, OPTIONS)
    assert (model.info.engine, exact.info.engine) == ("kernels", "sentence-transformers")
    assert model.info.max_tokens == exact.info.max_tokens
    for query in ("what is it?", "y" * 300):
        request = read_rerank(pb.RerankRequest(query=query, documents=DOCUMENTS, truncate=True))
        assert model.reader.read(request) == exact.reader.read(request)
        pairs = [[query, document] for document in DOCUMENTS]
        plain = reference.predict(pairs, activation_fn=torch.nn.Identity())
        rows = rows_of(model, query, *DOCUMENTS)
        most = 0.02 * np.abs(plain).max()
        np.testing.assert_allclose(rows[:, 0], plain, atol=most)
        # An activation into 0 … 1 has a slope of a quarter at most; without one it is the same number.
        scored = reference.predict(pairs)
        np.testing.assert_allclose(rows[:, 1], scored, atol=most if np.array_equal(scored, plain) else 0.01)


@pytest.mark.parametrize(("form", "change"), NOT_READ.values(), ids=NOT_READ)
def test_what_may_change_a_score_is_left_to_sentence_transformers(
    form: Callable[[Path], Path], change: Change, tmp_path: Path
) -> None:
    """A form that is not known is refused by the kernels, and not guessed at."""
    folder = form(tmp_path / "m")
    change(folder)
    with pytest.raises(UnknownFormError):
        NativePairModel(folder, OPTIONS)


def test_any_device_or_type_that_is_asked_for_is_sentence_transformers(tmp_path: Path) -> None:
    """The kernels have one of each."""
    model = load_pair_model(forms.bert(tmp_path / "m"), EmbedOptions(device="cpu", dtype="bfloat16"))
    assert model.info.engine == "sentence-transformers"


def test_a_pair_is_computed_alike_alone_and_in_a_batch(tmp_path: Path) -> None:
    """Bit for bit, so that documents that are alike stay in their order."""
    model = load_pair_model(forms.bert(tmp_path / "m"), OPTIONS)
    together = rows_of(model, "what?", *DOCUMENTS)
    alone = np.concatenate([rows_of(model, "what?", document) for document in DOCUMENTS])
    assert np.array_equal(together, alone)
    alike = rows_of(model, "what?", *["the same"] * 7)
    assert (alike == alike[0]).all()


def test_small_scores_tell_documents_apart(tmp_path: Path) -> None:
    """A sigmoid near 0 is as exact as anywhere: documents that do not matter keep their ranks."""
    folder = forms.bert(tmp_path / "m")
    file = folder / "model.safetensors"
    save_file({**load_file(file), "classifier.bias": torch.tensor([-19.0])}, file, {"format": "pt"})
    rows = rows_of(NativePairModel(folder, OPTIONS), "q", *DOCUMENTS)
    expected = torch.from_numpy(rows[:, 0].astype(np.float64)).sigmoid().numpy()
    np.testing.assert_allclose(rows[:, 1], expected, rtol=1e-5)
    assert np.argsort(rows[:, 0]).tolist() == np.argsort(rows[:, 1]).tolist()


def test_which_text_a_token_is_of_counts(tmp_path: Path) -> None:
    """The same tokens with other segments have another score, and a segment that there is not is refused."""
    model = NativePairModel(forms.bert(tmp_path / "m"), OPTIONS)
    ids = [5, 6, 7, 8]
    [one], [other] = (model.encode([Pair(ids, kinds)]) for kinds in ([0, 0, 1, 1], [0, 0, 0, 0]))
    assert abs(one[0] - other[0]) > 1e-3
    for bad in (2, -1):
        with pytest.raises(KernelError, match="segment"):
            model.encode([Pair(ids, [0, 0, 0, bad])])
    assert np.array_equal(model.encode([Pair(ids, [0, 0, 1, 1])])[0], one)


def test_a_large_output_is_no_overflow(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """A sigmoid of anything is between 0 and 1."""
    folder = forms.bert(tmp_path / "m")
    file = folder / "model.safetensors"
    save_file({**load_file(file), "classifier.bias": torch.tensor([-1e5])}, file, {"format": "pt"})
    [row] = rows_of(NativePairModel(folder, OPTIONS), "q", "d")
    assert row[1] == 0.0
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]


def test_the_files_are_read_without_weights(tmp_path: Path) -> None:
    """What is asked of a folder before anything is loaded."""
    folder = read_pair_folder(forms.bert_tanh(tmp_path / "m"))
    assert (folder.activation, folder.max_tokens, folder.prompt) == ("Tanh", 128, "")
