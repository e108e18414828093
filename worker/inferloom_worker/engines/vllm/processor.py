"""vLLM's logits processor for what is carried. Imported by vLLM, in the processes that compute."""

from pathlib import Path
from typing import Any

from torch import Tensor
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality

from inferloom_worker.constrain.grammar import Grammars
from inferloom_worker.engines.vllm.carried import KEY
from inferloom_worker.engines.vllm.rows import CarriedBatch


class CarriedProcessor(LogitsProcessor):
    """Chooses the tokens of carried requests, and leaves vLLM one each.

    It stands among the processors that change what a greedy request takes, before vLLM's penalties, which
    carried requests do not have. vLLM takes no processors together with drafts, so a request has one row.
    """

    def __init__(self, vllm_config: Any, device: Any, is_pin_memory: bool) -> None:
        self._folder = Path(vllm_config.model_config.model)
        self._width = int(vllm_config.model_config.get_vocab_size())
        self._batch = CarriedBatch(self._compiler)

    def is_argmax_invariant(self) -> bool:
        """False: it decides what the largest is."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow vLLM's batch: who left, who came, who moved, in this order."""
        if batch_update is None:
            return
        for index in batch_update.removed:
            self._batch.left(index)
        for index, params, prompt, output in batch_update.added:
            self._batch.came(index, (params.extra_args or {}).get(KEY), list(prompt or ()), output)
        for one, other, direction in batch_update.moved:
            self._batch.moved(one, other, swap=direction is MoveDirectionality.SWAP)

    def apply(self, logits: Tensor) -> Tensor:
        """See :meth:`.rows.CarriedBatch.apply`."""
        return self._batch.apply(logits)

    def _compiler(self) -> Grammars:
        # Imported here: most models are never constrained.
        from inferloom_worker.constrain.compiler import GrammarCompiler
        from inferloom_worker.text.folder_tokenizer import load_folder_tokenizer

        tokenizer = load_folder_tokenizer(self._folder).limited(self._width)
        return GrammarCompiler(tokenizer, self._width, tried=True)
