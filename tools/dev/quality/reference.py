"""What a file's numbers give in float32, by transformers: the distributions and answers that should be."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
from transformers.utils.logging import disable_progress_bar

from quality.distance import Logs, log_softmax
from quality.windows import FIRST, SCORED


class Reference:
    """A GGUF file or a model folder, expanded to float32."""

    def __init__(self, path: Path) -> None:
        disable_progress_bar()
        where: dict[str, Any] = {"pretrained_model_name_or_path": path}
        how: dict[str, Any] = {}
        if path.suffix == ".gguf":
            where = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
            how = {"quantization_config": GgufConfig(dequantize=True)}
        self._tokenizer = AutoTokenizer.from_pretrained(**where)
        self._model = AutoModelForCausalLM.from_pretrained(**where, **how, dtype=torch.float32).eval()

    @torch.inference_mode()
    def logs(self, windows: list[list[int]]) -> Iterator[Logs]:
        """The distributions of each window, [SCORED, vocabulary]."""
        for tokens in windows:
            logits = self._model(torch.tensor([tokens])).logits[0, FIRST : FIRST + SCORED]
            yield log_softmax(logits.numpy())

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text, with none in front that it does not have."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    @torch.inference_mode()
    def answer(self, question: str, tokens: int) -> str:
        """The greedy answer to one user message."""
        inputs = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": question}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        output = self._model.generate(**inputs, max_new_tokens=tokens, do_sample=False)
        answer: str = self._tokenizer.decode(
            output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        return answer
