"""An encoder in sentence-transformers' own modules.

Importing this takes seconds, so it is imported for the first model that the kernels do not compute.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers.utils import logging as transformers_logging

from inferloom_mesh.machine import cores
from inferloom_worker.embed.files import is_matryoshka
from inferloom_worker.embed.options import EmbedderInfo, EmbedOptions
from inferloom_worker.embed.reader import Reader
from inferloom_worker.models.instruction_set import torch_instruction_set
from inferloom_worker.text.tokenizer import Tokenizer

M = TypeVar("M", bound=torch.nn.Sequential)

DTYPES = {
    "auto": torch.float32,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
"""Torch's types by their names in the options."""

_UNLIMITED = 2048
"""Tokens of a text for a model that states no limit, such as T5, whose positions are relative: attention over
many more would take gigabytes."""


class SentenceModel:
    """An encoder and what reads for it. Vectors are float32 and not yet normalised.

    A folder's module files (``modules.json`` and what it names) say what follows the transformer: pooling by
    the last token, the mean or the first, projections, normalisation, and the prompt before every text.
    Without them vectors are means.

    Only :meth:`encode` touches the model, so one thread at a time may call it.

    Raises:
        ValueError: The folder's modules do not start with a transformer that reads text.
    """

    def __init__(self, path: Path, options: EmbedOptions) -> None:
        model, first, backend = opened(SentenceTransformer, path, options)
        modules = list(model)
        normalizes = isinstance(modules[-1], Normalize)
        self._modules = modules[:-1] if normalizes else modules
        self._device = model.device
        self._pad = first.tokenizer.pad_token_id or 0
        prompt = model.prompts.get(model.default_prompt_name) or ""
        most = most_tokens(model.max_seq_length, first)
        embeddings = first.auto_model.get_input_embeddings().num_embeddings
        self.reader = Reader(Tokenizer(backend).limited(embeddings), most, prompt)
        self._left_out = self._prompt_tokens() if any(map(_leaves_out_prompt, modules)) else 0
        dimensions = int(model.get_embedding_dimension())
        self.info = EmbedderInfo(
            dimensions=dimensions,
            max_tokens=most,
            vocab_size=int(getattr(first.config, "vocab_size", self.reader.tokenizer.vocab_size)),
            normalizes=normalizes,
            shortens=is_matryoshka(path),
            dtype=str(model.dtype).removeprefix("torch."),
            weights_bytes=sum(p.numel() * p.element_size() for p in model.parameters()),
            batch_size=options.batch_size,
            instruction_set=torch_instruction_set(self._device),
        )

    def encode(self, texts: list[list[int]]) -> NDArray[np.float32]:
        """One row per text; each has at least one token and fits the model."""
        longest = max(map(len, texts))
        ids = torch.full((len(texts), longest), self._pad, dtype=torch.long)
        mask = torch.zeros((len(texts), longest), dtype=torch.long)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = torch.tensor(text, dtype=torch.long)
            mask[row, : len(text)] = 1
        features: dict[str, Any] = {
            "input_ids": ids.to(self._device),
            "attention_mask": mask.to(self._device),
        }
        if self._left_out:
            features["prompt_length"] = self._left_out
        with torch.inference_mode():
            for module in self._modules:
                features = module(features)
        vectors: torch.Tensor = features["sentence_embedding"]
        rows: NDArray[np.float32] = vectors.float().cpu().numpy()
        return rows

    def _prompt_tokens(self) -> int:
        """Tokens of the prompt with the special tokens before it, as sentence-transformers counts them."""
        ids = self.reader.tokens("")
        return len(ids) - (bool(ids) and ids[-1] in self.reader.tokenizer.special_ids)


def opened(kind: Callable[..., M], path: Path, options: EmbedOptions) -> tuple[M, Transformer, Any]:
    """Load a folder with one of sentence-transformers' classes: it, its transformer, and the ``tokenizers``
    object of that.

    Raises:
        ValueError: The folder's modules do not start with a transformer that reads text.
    """
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(options.threads or cores())
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    model = kind(
        str(path),
        device=device,
        local_files_only=True,
        trust_remote_code=False,
        model_kwargs={"dtype": DTYPES[options.dtype], "use_safetensors": True},
    ).eval()
    first = model[0]
    backend = getattr(getattr(first, "tokenizer", None), "backend_tokenizer", None)
    if not isinstance(first, Transformer) or backend is None:
        raise ValueError(f"{path.name} does not start with a transformer that reads text")
    return model, first, backend


def most_tokens(asked: int | None, first: Transformer) -> int:
    """Tokens of the longest text: what the folder says, but no more than there are positions.

    RoBERTa and its like count positions from the padding token's on, so the first rows of their table are of
    no use. A tokenizer without a limit says 1e30.
    """
    limits = [asked, getattr(first.config, "max_position_embeddings", None)]
    for name, module in first.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            unused = 0 if module.padding_idx is None else module.padding_idx + 1
            limits.append(module.num_embeddings - unused)
    stated = [limit for limit in limits if limit and 0 < limit < 1 << 31]
    return int(min(stated, default=_UNLIMITED))


def _leaves_out_prompt(module: torch.nn.Module) -> bool:
    return isinstance(module, Pooling) and not module.include_prompt
