"""One model type: a random model, answered by transformers and by the engine."""

import asyncio
import random
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from inferloom_worker.engine.events import TokensEvent
from inferloom_worker.engine.options import EngineOptions
from inferloom_worker.engine.protocol import Engine
from inferloom_worker.engine.request import GenerationRequest
from inferloom_worker.engine.sampling import Sampling
from inferloom_worker.engines.torch.torch_loading import load_engine
from inferloom_worker.hosting.model_class import ModelClass, model_class
from inferloom_worker.models.protocol import UnsupportedModelError
from inferloom_worker.sourcing.sources import SourceError, resolve
from sweep.tiny import VOCABULARY, tiny_config

COUNT = 12
"""Tokens of each answer."""


ANSWERED = "answered"
"""A file that says that transformers has computed its answers."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a type came out: ``equal``, ``refused``, ``different``, ``encoder``, ``no model`` or ``failed``."""

    verdict: str
    reason: str = ""


def compare(model_type: str, folder: Path, **fields: object) -> Outcome:
    """Write a random model of the type into ``folder`` and compare greedy answers to prompts of 9 to 57
    tokens, several at once in steps of 16."""
    try:
        model = _write(model_type, folder, **fields)
        expected = [_greedy(model, prompt) for prompt in _prompts()]
        (folder / ANSWERED).touch()
    except Exception as failure:
        return Outcome("no model", _line(failure))
    try:
        if model_class(resolve(str(folder))) is not ModelClass.GENERATES:
            return Outcome("encoder", str(model.config.architectures))
        engine = load_engine(folder, EngineOptions(dtype="float32", kv_cache_bytes=0, max_step_tokens=16))
    except (SourceError, UnsupportedModelError) as refusal:
        return Outcome("refused", _line(refusal))
    except Exception as failure:
        return Outcome("failed", _line(failure))
    try:
        actual = asyncio.run(_answers(engine))
    except Exception as failure:
        return Outcome("failed", _line(failure))
    finally:
        engine.close()
    return Outcome("equal") if actual == expected else Outcome("different", f"{expected} {actual}")


def _write(model_type: str, folder: Path, **fields: object) -> PreTrainedModel:
    torch.manual_seed(7)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(tiny_config(model_type, **fields))
    with torch.no_grad():
        for parameter in model.parameters():
            # The usual initialisation gives nearly equal logits; wider weights make greedy choices clear.
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.12)
            else:
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    loaded: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert loaded.generation_config is not None
    loaded.generation_config.eos_token_id = None
    return loaded.eval()


def _prompts() -> list[list[int]]:
    rng = random.Random(3)
    return [[rng.randrange(1, VOCABULARY) for _ in range(length)] for length in (9, 23, 57)]


def _greedy(model: PreTrainedModel, prompt: list[int]) -> list[int]:
    inputs = torch.tensor([prompt])
    output = model.generate(
        inputs,
        attention_mask=torch.ones_like(inputs),
        max_new_tokens=COUNT,
        min_new_tokens=COUNT,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    tokens: list[int] = output[0, len(prompt) :].tolist()
    return tokens


async def _answers(engine: Engine) -> list[list[int]]:
    async def answer(prompt: list[int]) -> list[int]:
        asked = GenerationRequest(
            request_id="", prompt=prompt, max_tokens=COUNT, sampling=Sampling(temperature=0.0)
        )
        return [
            token
            async for events in engine.submit(asked).events()
            for event in events
            if isinstance(event, TokensEvent)
            for token in event.token_ids
        ]

    return await asyncio.gather(*(answer(prompt) for prompt in _prompts()))


def _line(failure: BaseException) -> str:
    return f"{type(failure).__name__}: {' '.join(str(failure).split())}"[:240]
