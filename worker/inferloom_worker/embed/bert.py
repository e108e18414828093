"""BERT as its folder describes it: its shape, and its weights by transformers' names."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from inferloom_worker.embed.files import UnknownFormError, settle, whole
from inferloom_worker.sourcing.json_files import read_object
from inferloom_worker.weights.safetensors_files import open_safetensors

_FIXED: dict[str, tuple[Any, ...]] = {
    "model_type": ("bert",),
    "hidden_act": ("gelu",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "position_embedding_type": ("absolute",),
}
_FREE = (
    *("hidden_size", "intermediate_size", "layer_norm_eps", "max_position_embeddings", "num_attention_heads"),
    *("num_hidden_layers", "type_vocab_size", "vocab_size"),
    # Of training, of other heads, of generation and of files: none of them changes a hidden state.
    *("attention_probs_dropout_prob", "classifier_dropout", "gradient_checkpointing", "hidden_dropout_prob"),
    *("initializer_range", "directionality", "finetuning_task", "id2label", "label2id", "problem_type"),
    *("pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head"),
    *("pooler_type", "bos_token_id", "eos_token_id", "pad_token_id", "output_past", "tie_word_embeddings"),
    *("use_cache", "_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"),
    # Of vectors, and read elsewhere.
    *("is_matryoshka", "matryoshka_dimensions", "truncate_dim"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BertShape:
    """The sizes of a BERT encoder."""

    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocab: int
    positions: int
    """Tokens of the longest text."""
    token_types: int
    norm_eps: float


def read_shape(folder: Path, *, elsewhere: tuple[str, ...] = ()) -> BertShape:
    """What ``config.json`` says.

    Args:
        folder: The model's.
        elsewhere: Fields that somebody else reads.

    Raises:
        UnknownFormError: It is not a plain BERT encoder.
    """
    file = "config.json"
    config = read_object(folder / file)
    settle(file, config, free=(*_FREE, *elsewhere), fixed=_FIXED)
    if missing := {"model_type", "hidden_act", "layer_norm_eps"} - config.keys():
        raise UnknownFormError(f"{file} lacks {', '.join(sorted(missing))}")
    return BertShape(
        layers=whole(file, config, "num_hidden_layers"),
        hidden=whole(file, config, "hidden_size"),
        heads=whole(file, config, "num_attention_heads"),
        intermediate=whole(file, config, "intermediate_size"),
        vocab=whole(file, config, "vocab_size"),
        positions=whole(file, config, "max_position_embeddings"),
        token_types=whole(file, config, "type_vocab_size"),
        norm_eps=_positive(file, config["layer_norm_eps"]),
    )


def _positive(file: str, value: object) -> float:
    if not isinstance(value, int | float) or not 0 < value < 1:
        raise UnknownFormError(f"{file} has a layer_norm_eps of {value!r}")
    return float(value)


class Weights(Protocol):
    """Named tensors."""

    def find(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """The tensor that ``BertModel`` calls ``name``, which must have this shape.

        Raises:
            UnknownFormError: There is none, or it is of another shape or type.
        """
        ...


class BertWeights:
    """Weights in a safetensors file, of ``BertModel`` itself or of a model with a head on it.

    Raises:
        UnknownFormError: There is no such file.
        CheckpointError: It cannot be read.
    """

    def __init__(self, file: Path) -> None:
        if not file.is_file():
            raise UnknownFormError(f"there is no {file.name}")
        self._path = file
        with open_safetensors(file, "np") as opened:
            self._names = frozenset(opened.keys())

    def find(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        # Files from before 2019 call a norm's weight and bias as its paper does.
        old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        places = (name, f"bert.{name}", old, f"bert.{old}")
        stored = next((place for place in places if place in self._names), None)
        if stored is None:
            raise UnknownFormError(f"{self._path.name} has no {name}")
        with open_safetensors(self._path, "np") as opened:
            piece = opened.get_slice(stored)
            found, dtype = tuple(piece.get_shape()), piece.get_dtype()
            if found != shape or dtype not in ("F32", "F16", "BF16"):
                raise UnknownFormError(f"{self._path.name} has {stored} as {dtype} {found}")
            if dtype != "BF16":
                values: NDArray[np.float32] = opened.get_tensor(stored).astype(np.float32, copy=False)
                return values
        # NumPy has no such type; torch does, and is imported for it.
        with open_safetensors(self._path, "pt") as opened:
            widened: NDArray[np.float32] = opened.get_tensor(stored).float().numpy()
            return widened
