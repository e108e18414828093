"""Hashes of what a model is made of: its weights alone, and everything that an answer depends on."""

import json
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

from google.protobuf.message import Message

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.engines.vllm.options import read_query
from inferloom_worker.hosting.computing import computed_with
from inferloom_worker.sourcing.json_files import read_object
from inferloom_worker.sourcing.sources import ModelSource
from inferloom_worker.weights.gguf import read_gguf

WHOLE_BYTES = 1 << 30
"""Files up to this size are hashed whole (a tenth of a second for 100 MB)."""

SAMPLES = 1024
SAMPLE_BYTES = 1 << 20
"""Of larger files: the first megabyte, where the header is, the size, and this many pieces in even steps.
Models that differ only between the pieces have equal hashes; training and quantising change everything."""

_ABOUT_THE_FILE = frozenset({"_name_or_path", "transformers_version", "torch_dtype", "dtype"})
"""Fields of a config that change nothing of what is computed; the type that is computed in is the card's."""


def weights_hash(files: Iterable[Path], more: bytes = b"") -> str:
    """A hash of the content of files of weights, whatever they are called and in whatever order: thirty-two
    hexadecimal digits. The same tensors in another format, or divided otherwise, have another one. Blocking,
    for about a second for each GiB that is read on a warm disk, which is at most one of each file.

    Args:
        files: The files.
        more: What else there is, such as the options of an engine without files.
    """
    return _digest(*sorted(_content(file) for file in files), more)


def adapter_hash(base: str, folder: Path) -> str:
    """The hash of an adapter on the base that has the hash ``base``, its settings included."""
    settings = _canonical(read_object(folder / "adapter_config.json"))
    return _digest(base.encode(), settings, *sorted(map(_content, folder.glob("*.safetensors"))))


def compute_hash(card: pb.Model) -> str:
    """A hash of everything that an answer depends on but the request: models with equal hashes answer alike,
    to the last digit. That is what ``card`` is the card of, its ``definition_hash``, and what computes it.
    """
    return _digest(card.definition_hash.encode(), computed_with(card.engine, card.instruction_set).encode())


def definition_hash(card: pb.Model, source: ModelSource, quantize: str | None) -> str:
    """A hash of what a model is, whatever computes it.

    That is the weights, the configuration and generation defaults, tokenizer and chat template, the type that
    is computed in, the quantisation and the engine. The context length is in it: answers end there, and
    LongRoPE chooses its frequencies by it.

    Args:
        card: The model's card, complete but for its hashes.
        source: Its files.
        quantize: What its weights are rounded to when they are loaded.
    """
    told = pb.Model(
        weights_hash=card.weights_hash,
        tokenizer_hash=card.tokenizer_hash,
        chat_template_hash=card.chat_template_hash,
        tool_format=card.tool_format,
        reasoning_format=card.reasoning_format,
        dtype=card.dtype,
        quantization=card.quantization,
        context_length=card.context_length,
        engine=card.engine,
        sampling_defaults=card.sampling_defaults if card.HasField("sampling_defaults") else None,
    )
    own = (read_query(source.query).computing(),) if source.engine == "vllm" else ()
    return _digest(_deterministic(told), (quantize or "").encode(), *_settings(source), *own)


def model_files(source: ModelSource) -> list[Path]:
    """A source's files of weights."""
    if source.path is None:
        return []
    if source.path.is_file():
        return list(read_gguf(source.path).parts) or [source.path]
    # A folder of sentence-transformers has weights of its modules in folders of their own.
    return sorted([*source.path.glob("*.safetensors"), *source.path.glob("*/*.safetensors")])


def _settings(source: ModelSource) -> Iterable[bytes]:
    """The configuration files of a folder: of the model, of how it generates, and of the modules after it."""
    if source.path is None or source.path.is_file():
        return
    folder = source.path
    for name in ("config.json", "generation_config.json", "sentence_bert_config.json"):
        yield _canonical(read_object(folder / name))
    yield _canonical(read_object(folder / "config_sentence_transformers.json"), "__version__")
    modules = folder / "modules.json"
    yield modules.read_bytes() if modules.is_file() else b""
    for file in sorted(folder.glob("*/config.json")):
        yield file.parent.name.encode()
        yield _canonical(read_object(file))


def _canonical(value: dict[str, object], *without: str) -> bytes:
    kept = {key: item for key, item in value.items() if key not in (*_ABOUT_THE_FILE, *without)}
    return json.dumps(kept, sort_keys=True).encode()


def _deterministic(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


def _digest(*parts: bytes) -> str:
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def _content(file: Path) -> bytes:
    """A digest of one file, and of samples of a large one."""
    size = file.stat().st_size
    digest = blake2b(size.to_bytes(8, "little"), digest_size=16)
    with file.open("rb") as stream:
        if size <= WHOLE_BYTES:
            while piece := stream.read(SAMPLE_BYTES):
                digest.update(piece)
        else:
            for sample in range(SAMPLES + 1):
                stream.seek((size - SAMPLE_BYTES) * sample // SAMPLES)
                digest.update(stream.read(SAMPLE_BYTES))
    return digest.digest()
