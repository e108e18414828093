"""From a spec to a served model. Blocking, for seconds: it runs on a thread of its own."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.embed.causal import CausalEmbedder
from inferloom_worker.embed.embedder import Embedder
from inferloom_worker.embed.encoder_loading import load_encoder
from inferloom_worker.embed.options import EmbedderInfo
from inferloom_worker.engines.registry import engine_kind
from inferloom_worker.hosting import card
from inferloom_worker.hosting.finding import find_model
from inferloom_worker.hosting.load_options import LoadOptions
from inferloom_worker.hosting.served import Encoder, Generator, ServedModel
from inferloom_worker.hosting.weights_hash import adapter_hash, weights_hash
from inferloom_worker.sourcing.demo import cache_folder
from inferloom_worker.sourcing.imports import large_imports
from inferloom_worker.sourcing.sources import ModelSource, SourceError, SourceKind, resolve_adapter
from inferloom_worker.text.template import ChatTemplate
from inferloom_worker.text.tokenizer import Tokenizer, short_hash
from inferloom_worker.text.tokenizer_loading import load_tokenizer
from inferloom_worker.validate import parameters

OWNER = "inferloom"
"""Who provides the models, as their cards say."""

log = logging.getLogger(__name__)


def load_model(name: str, spec: str, options: LoadOptions) -> ServedModel:
    """Load what ``spec`` names, to be served as ``name``.

    Raises:
        SourceError: It cannot be found, or cannot be served; the message says why.
    """
    source = find_model(spec, options.cache_dir, lambda words: log.info("%s: %s", name, words))
    with _loading(name, spec):
        load = _load_generator if card.generates(source) else _load_encoder
        served = load(name, source, options)
    served.card.created.GetCurrentTime()
    return served


def load_adapter(name: str, base: ServedModel, spec: str) -> ServedModel:
    """Load the LoRA adapter that ``spec`` names onto ``base``, to be served as ``name``.

    Raises:
        SourceError: It cannot be found, is of a kind that is not supported, or does not fit the base.
    """
    folder = resolve_adapter(spec, lambda words: log.info("%s: %s", name, words))
    with _loading(name, spec):
        adapter = base.load_adapter(folder)
        model = pb.Model()
        model.CopyFrom(base.card)
        model.ClearField("adapters")
        _withdraw_embeddings(model)
        model.id, model.parent = name, base.card.id
        model.root = folder.name if folder == Path(spec).expanduser() else spec
        model.weights_hash = adapter_hash(base.card.weights_hash, folder)
        model.compute_hash = model.weights_hash
        model.created.GetCurrentTime()
    return base.variant(model, adapter)


@contextmanager
def _loading(name: str, spec: str) -> Iterator[None]:
    """Say how long it took, or why it failed."""
    started = time.monotonic()
    try:
        yield
    except SourceError:
        raise
    except (ValueError, OSError) as failure:
        raise SourceError(f"{spec} cannot be loaded: {failure}") from failure
    except Exception as failure:
        # The boundary of the loading thread: for a damaged file, the libraries raise whatever they like.
        log.exception("%s cannot be loaded", spec)
        raise SourceError(f"{spec} cannot be loaded; the worker's log says why") from failure
    log.info("%s: loaded %s in %.1f s", name, spec, time.monotonic() - started)


def _load_generator(name: str, source: ModelSource, options: LoadOptions) -> ServedModel:
    tokenizer = load_tokenizer(source, cache_folder(options.cache_dir))
    template = None
    kind = engine_kind(source.engine or ("echo" if source.kind is SourceKind.ECHO else "torch"))
    engine = kind.start(source, options.engine, tokenizer.vocab_size)
    if tokenizer.chat_template is not None:
        template = ChatTemplate(tokenizer.chat_template, tokenizer.special_tokens)
        with large_imports():
            template.check()
    model = _card(name, source, tokenizer)
    model.tasks.extend([pb.TASK_COMPLETION, *([pb.TASK_CHAT] if template else [])])
    model.context_length = engine.info.context_length
    model.vocabulary_size = engine.info.vocab_size
    model.dtype = engine.info.dtype
    model.supported_parameters.extend((*parameters.GENERATE, *(parameters.CHAT if template else ())))
    if template is not None:
        model.chat_template_hash = short_hash(template.source)
    if engine.info.embedding_dimensions is None:
        return Generator(model, tokenizer, template, engine)
    embedder = CausalEmbedder(engine, tokenizer, options.embed)
    _offer_embeddings(model, embedder.info)
    return Generator(model, tokenizer, template, engine, embedder)


def _load_encoder(name: str, source: ModelSource, options: LoadOptions) -> ServedModel:
    assert source.path is not None
    encoder = load_encoder(source.path, options.embed)
    embedder = Embedder(encoder, options.embed)
    model = _card(name, source, encoder.reader.tokenizer)
    _offer_embeddings(model, embedder.info)
    model.context_length = embedder.info.max_tokens
    model.vocabulary_size = embedder.info.vocab_size
    model.dtype = embedder.info.dtype
    return Encoder(model, embedder)


def _withdraw_embeddings(model: pb.Model) -> None:
    """An adapter changes completions; the base's vectors are asked of the base."""
    kept = [task for task in model.tasks if task != pb.TASK_EMBED]
    if len(kept) < len(model.tasks):
        model.tasks[:] = kept
        model.embedding_dimensions = 0
        of_embeddings = {"dimensions", *parameters.EMBED} - {*parameters.GENERATE, *parameters.CHAT}
        model.supported_parameters[:] = [p for p in model.supported_parameters if p not in of_embeddings]


def _offer_embeddings(model: pb.Model, info: EmbedderInfo) -> None:
    model.tasks.append(pb.TASK_EMBED)
    model.embedding_dimensions = info.dimensions
    model.supported_parameters.extend(parameters.EMBED)
    if info.shortens:
        model.supported_parameters.append("dimensions")


def _card(name: str, source: ModelSource, tokenizer: Tokenizer) -> pb.Model:
    hashed = weights_hash(source)
    return pb.Model(
        id=name,
        owned_by=OWNER,
        weights_hash=hashed,
        compute_hash=hashed,
        tokenizer_hash=tokenizer.hash,
        quantization=card.quantization(source),
        root=source.root,
        architecture=card.architecture(source),
    )
