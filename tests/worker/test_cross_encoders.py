"""Cross-encoders in the forms that are found in the wild, beside sentence-transformers' own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder
from transformers import AutoConfig, AutoModelForSequenceClassification

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.embed.options import EmbedOptions
from inferloom_worker.embed.pair_loading import load_pair_model
from inferloom_worker.embed.pair_ranker import PairModel
from inferloom_worker.hosting.load_options import LoadOptions
from inferloom_worker.hosting.model_loading import load_model
from inferloom_worker.sourcing.sources import SourceError
from inferloom_worker.validate.rerank import read_rerank
from tests.worker.cross_encoders import FORMS, bert, bert_identity
from tests.worker.folder_changes import edit

OPTIONS = EmbedOptions(device="cpu", dtype="float32")
DOCUMENTS = ["a", "the quick brown fox", "été 🌍", "x" * 400, "", "https://a.example/picture.png"]


def rows_of(model: PairModel, query: str, *documents: str) -> np.ndarray:
    """What the model gives for a query and documents, cut where they are too long."""
    request = pb.RerankRequest(query=query, documents=documents, truncate=True)
    return model.encode(model.reader.read(read_rerank(request)))


@pytest.mark.parametrize("form", FORMS)
def test_scores_are_sentence_transformers_own(form: Callable[[Path], Path], tmp_path: Path) -> None:
    """To 1e-4, with the activation that the folder names and without, for short and for cut texts; a text
    that is an address is read as text."""
    folder = form(tmp_path / "m")
    reference = CrossEncoder(str(folder), device="cpu", local_files_only=True)
    model = load_pair_model(folder, OPTIONS)
    assert model.info.max_tokens == 128
    for query in ("what is it?", "y" * 300):
        pairs = [[query, document] for document in DOCUMENTS]
        plain = reference.predict(pairs, activation_fn=torch.nn.Identity())
        rows = rows_of(model, query, *DOCUMENTS)
        np.testing.assert_allclose(rows[:, 0], plain, atol=1e-4)
        np.testing.assert_allclose(rows[:, 1], reference.predict(pairs), atol=1e-4)
        assert np.ptp(plain) > 0.01 or len(query) > 100  # the documents are told apart


def test_a_pair_is_computed_alike_alone_and_in_a_batch(tmp_path: Path) -> None:
    """Padding changes nothing."""
    model = load_pair_model(bert(tmp_path / "m"), OPTIONS)
    together = rows_of(model, "what?", *DOCUMENTS)
    alone = np.concatenate([rows_of(model, "what?", document) for document in DOCUMENTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_card_says_that_it_ranks(tmp_path: Path) -> None:
    """And nothing else."""
    served = load_model("m", str(bert(tmp_path / "m")), LoadOptions(embed=OPTIONS))
    served.close()
    assert list(served.card.tasks) == [pb.TASK_RERANK]
    assert (served.card.context_length, served.card.vocabulary_size) == (128, 260)
    assert served.card.compute_hash


def test_what_gives_no_one_score_is_refused_by_name(tmp_path: Path) -> None:
    """A cross-encoder of several classes, and one whose activation is somebody's own code."""
    folder = bert_identity(tmp_path / "m")
    several = AutoModelForSequenceClassification.from_config(AutoConfig.from_pretrained(folder, num_labels=3))
    three = bert(tmp_path / "three")
    several.save_pretrained(three)
    edit("config.json", sentence_transformers={"version": "5.0"})(three)
    with pytest.raises(SourceError, match=r"is a classifier, which is not served"):
        load_model("m", str(three), LoadOptions(embed=OPTIONS))
    edit("config_sentence_transformers.json", activation_fn="os.abort")(folder)
    with pytest.raises(SourceError, match=r"the activation 'os\.abort', which is none of torch\.nn"):
        load_model("m", str(folder), LoadOptions(embed=OPTIONS))
