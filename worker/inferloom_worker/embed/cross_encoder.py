"""A cross-encoder in sentence-transformers' own modules.

Importing this takes seconds, so it is imported for the first model that the kernels do not compute.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import CrossEncoder

from inferloom_worker.embed.activation import activation_name
from inferloom_worker.embed.model import most_tokens, opened
from inferloom_worker.embed.options import EmbedOptions, RankerInfo
from inferloom_worker.embed.pair_ranker import Reader
from inferloom_worker.embed.pairs import Pair, PairReader, pair_too_long
from inferloom_worker.models.instruction_set import torch_instruction_set
from inferloom_worker.text.tokenizer import Tokenizer
from inferloom_worker.validate.rerank import RankingRequest

_LISTS: dict[str, Any] = {
    "text": {"padding": False, "truncation": False},
    "common": {"return_tensors": None},
}
"""How sentence-transformers is asked for whole token ids."""


class CrossEncoderModel:
    """A :class:`~inferloom_worker.embed.pair_ranker.PairModel` of any form that sentence-transformers reads.

    That is a classifier with one label, or a decoder that is asked with its chat template whether a document
    is relevant, and answers with the logits of two words.

    Only :meth:`encode` touches the model, so one thread at a time may call it.

    Raises:
        ValueError: It gives no one score to two texts.
    """

    def __init__(self, path: Path, options: EmbedOptions) -> None:
        activation_name(path)  # sentence-transformers would pass over one that it does not trust
        model, first, backend = opened(CrossEncoder, path, options)
        if other := set(first.modalities) - {"text", "message"}:
            kinds = ", ".join(sorted(map(str, other)))
            raise ValueError(f"{path.name} also reads {kinds}, and only text is served")
        if model.num_labels != 1:
            raise ValueError(f"{path.name} gives {model.num_labels} numbers to two texts, and not one score")
        self._model = model
        self._first = first
        self._modality = "message" if "message" in first.modalities else "text"
        tokenizer = first.tokenizer
        self._pad = (tokenizer.pad_token_id or 0, tokenizer.pad_token_type_id)
        self._left = tokenizer.padding_side == "left"
        self._segments = "token_type_ids" in tokenizer.model_input_names
        embeddings = first.auto_model.get_input_embeddings().num_embeddings
        own = Tokenizer(type(backend).from_str(backend.to_str())).limited(embeddings)
        most = most_tokens(model.max_seq_length, first)
        prompt = model.prompts.get(model.default_prompt_name) or ""
        self.reader: Reader = (
            MessageReader(own, first, most, prompt)
            if self._modality == "message"
            else PairReader(own, most, prompt)
        )
        self.info = RankerInfo(
            max_tokens=most,
            vocab_size=int(getattr(first.config, "vocab_size", own.vocab_size)),
            dtype=str(model.dtype).removeprefix("torch."),
            weights_bytes=sum(p.numel() * p.element_size() for p in model.parameters()),
            batch_size=options.batch_size,
            instruction_set=torch_instruction_set(model.device),
        )

    def encode(self, texts: list[Pair]) -> NDArray[np.float32]:
        """Rows of two numbers; each pair has at least one token and fits the model."""
        longest = max(map(len, texts))
        pad, pad_segment = self._pad
        ids = torch.full((len(texts), longest), pad, dtype=torch.long)
        segments = torch.full((len(texts), longest), pad_segment, dtype=torch.long)
        mask = torch.zeros((len(texts), longest), dtype=torch.long)
        for row, text in enumerate(texts):
            place = slice(longest - len(text), longest) if self._left else slice(0, len(text))
            ids[row, place] = torch.tensor(text.ids, dtype=torch.long)
            segments[row, place] = torch.tensor(text.segments, dtype=torch.long)
            mask[row, place] = 1
        features: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
        if self._segments:
            features["token_type_ids"] = segments
        device = self._model.device
        features = {name: tensor.to(device) for name, tensor in features.items()}
        features |= {"modality": self._modality, "logits_to_keep": 1}
        with torch.inference_mode():
            outputs = self._model(features)["scores"].float().reshape(-1)
            rows: NDArray[np.float32] = (
                torch.stack([outputs, self._model.activation_fn(outputs)], dim=1).cpu().numpy()
            )
        return rows


class MessageReader:
    """Renders a query and a document with the model's chat template, as its roles of these names.

    Args:
        tokenizer: The model's.
        transformer: Renders and tokenises; one thread at a time.
        max_tokens: Most tokens of what is rendered.
        prompt: What the model is told first.
    """

    def __init__(self, tokenizer: Tokenizer, transformer: Any, max_tokens: int, prompt: str) -> None:
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self._transformer = transformer
        self._prompt = prompt or None
        self._lock = threading.Lock()  # the tokenizer's padding and truncation are settings of its own

    def read(self, asked: RankingRequest) -> list[Pair]:
        """One pair per document. Blocking.

        Raises:
            InferloomError: CONTEXT_LENGTH_EXCEEDED at a document that is too long beside its query, and not
                to be cut.
        """
        most, cuts = asked.limit(self.max_tokens)
        documents = asked.documents
        if (limit := asked.max_document_tokens) is not None:
            documents = [self.tokenizer.cut(document, limit) for document in documents]
        queries = asked.queries if asked.each else [asked.queries[0]] * len(documents)
        texts = [list(pair) for pair in zip(queries, documents, strict=True)]
        with self._lock:
            rendered = self._ids(texts, _LISTS)
            for index, ids in enumerate(rendered):
                if len(ids) > most:
                    if not cuts:
                        raise pair_too_long(index, len(ids), most)
                    # Its own way of cutting keeps the end of the template, where the answer is read off.
                    (rendered[index],) = self._ids([texts[index]], {"text": {"max_length": most}})
        return [Pair(ids, [0] * len(ids)) for ids in rendered]

    def _ids(self, texts: list[list[str]], how: dict[str, Any]) -> list[Sequence[int]]:
        found = self._transformer.preprocess(texts, prompt=self._prompt, processing_kwargs=how)["input_ids"]
        return [ids if isinstance(ids, list) else ids.tolist() for ids in found]
