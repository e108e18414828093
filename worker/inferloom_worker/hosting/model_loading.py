"""From a spec to a served model. Blocking, for seconds: it runs on a thread of its own."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from inferloom.parameter_table import Honour
from inferloom.v1 import inference_pb2 as pb
from inferloom_mesh.extras import advice
from inferloom_worker.constrain.grammar import Grammars
from inferloom_worker.embed.causal import CausalEmbedder
from inferloom_worker.embed.embedder import Embedder
from inferloom_worker.embed.encoder_loading import is_cpu, load_encoder
from inferloom_worker.embed.options import EmbedderInfo, RankerInfo
from inferloom_worker.embed.pair_loading import load_pair_model
from inferloom_worker.embed.pair_ranker import PairRanker
from inferloom_worker.engine.protocol import Engine, EngineInfo
from inferloom_worker.engines.registry import engine_kind
from inferloom_worker.hosting import card
from inferloom_worker.hosting.capabilities import CONSTRAINTS, honoured_by, read_by
from inferloom_worker.hosting.dialect import Dialect
from inferloom_worker.hosting.finding import find_model
from inferloom_worker.hosting.generator import Generator
from inferloom_worker.hosting.load_options import LoadOptions, chosen_format
from inferloom_worker.hosting.model_class import ModelClass, model_class
from inferloom_worker.hosting.reader import Encoder, Reranker
from inferloom_worker.hosting.sampling_defaults import sampling_defaults
from inferloom_worker.hosting.served import ServedModel
from inferloom_worker.hosting.weights_hash import (
    adapter_hash,
    compute_hash,
    definition_hash,
    model_files,
    weights_hash,
)
from inferloom_worker.kernels import kept
from inferloom_worker.sourcing.amounts import Sayings
from inferloom_worker.sourcing.imports import large_imports
from inferloom_worker.sourcing.sources import ModelSource, SourceError, SourceKind, resolve_adapter
from inferloom_worker.sourcing.spec import SIDECAR
from inferloom_worker.text.infilling import infilling
from inferloom_worker.text.job import TimeUp, run_within
from inferloom_worker.text.template import ChatTemplate
from inferloom_worker.text.tokenizer import Tokenizer, short_hash
from inferloom_worker.text.tokenizer_loading import load_tokenizer

TEMPLATE_LIMIT_S = 10.0
"""Time that a chat template may take to be tried when it is loaded."""

OWNER = "inferloom"
"""Who provides the models, as their cards say."""

_LONGEST_REASON, _LONGEST_SPEC = 400, 200
"""Characters of an exception's words, and of a spec, that go into a message."""

T = TypeVar("T")

log = logging.getLogger(__name__)


def load_model(name: str, spec: str, options: LoadOptions) -> ServedModel:
    """Load what ``spec`` names, to be served as ``name``.

    Raises:
        SourceError: It cannot be found, or cannot be served; the message says why.
    """
    source = find_model(spec, options.cache_dir, lambda words: log.info("%s: %s", name, words), _logged(name))
    if source.engine == SIDECAR:
        return _load_sidecar(name, source, options)
    ours = source.engine in (None, "torch") and source.kind is not SourceKind.ECHO
    if ours and is_cpu(options.engine.device):
        kept.ensure(lambda words: log.info("%s: %s", name, words))
    with _refusing(spec):
        kind = model_class(source)
    with (
        _loading(name, spec, "torch" if kind is ModelClass.GENERATES else "sentence-transformers"),
        _closed_on_failure(_loader(kind, source.engine)(name, source, options)) as served,
    ):
        served.card.definition_hash = definition_hash(served.card, source, options.engine.quantize)
        served.card.compute_hash = compute_hash(served.card)
    served.card.created.GetCurrentTime()
    return served


def _logged(name: str) -> Sayings:
    """Logs how much of a model has come, now and then."""
    return Sayings(name, lambda line: log.info("%s", line))


def _load_sidecar(name: str, source: ModelSource, options: LoadOptions) -> ServedModel:
    with _loading(name, source.spec.partition("?")[0], SIDECAR):
        # Imported here: a worker whose models are its own needs no HTTP client.
        from inferloom_worker.hosting.sidecar.loading import load_sidecar

        return load_sidecar(name, source.spec, options.engine)


def load_adapter(name: str, base: ServedModel, spec: str) -> ServedModel:
    """Load the LoRA adapter that ``spec`` names onto ``base``, to be served as ``name``.

    Raises:
        SourceError: It cannot be found, is of a kind that is not supported, or does not fit the base.
    """
    folder = resolve_adapter(spec, lambda words: log.info("%s: %s", name, words), _logged(name))
    with _loading(name, spec, "torch"):
        adapter = base.load_adapter(folder)
        model = pb.Model()
        model.CopyFrom(base.card)
        model.ClearField("adapters")
        _withdraw_embeddings(model)
        model.id, model.parent = name, base.card.id
        model.root = folder.name if folder == Path(spec).expanduser() else spec
        model.weights_hash = adapter_hash(base.card.weights_hash, folder)
        model.definition_hash = adapter_hash(base.card.definition_hash, folder)
        model.compute_hash = adapter_hash(base.card.compute_hash, folder)
        model.created.GetCurrentTime()
    return base.variant(model, adapter)


@contextmanager
def _loading(name: str, spec: str, extra: str) -> Iterator[None]:
    """Say how long it took, or why it failed; ``extra`` of the distribution brings what may be missing."""
    started = time.monotonic()
    with _refusing(spec):
        try:
            yield
        except ModuleNotFoundError as missing:
            library = missing.name or "a library"
            if library.startswith("inferloom"):
                raise
            brought = "vllm" if library == "vllm" else extra
            raise SourceError(f"{_short(spec)} cannot be loaded: {advice(library, brought)}") from missing
    log.info("%s: loaded %s in %.1f s", name, spec, time.monotonic() - started)


class _Closable(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=_Closable)


@contextmanager
def _closed_on_failure(started: C) -> Iterator[C]:
    """Close what has a thread, or memory of an accelerator, and comes to nothing."""
    try:
        yield started
    except BaseException:
        started.close()
        raise


@contextmanager
def _refusing(spec: str) -> Iterator[None]:
    """Turn whatever the libraries raise into a sentence about the model."""
    try:
        yield
    except SourceError as failure:
        if Path(spec).name in str(failure):
            raise
        # A hub's model is in a folder with the name of a commit.
        raise SourceError(f"{_short(spec)}: {failure}") from failure
    except (ValueError, OSError, MemoryError) as failure:
        raise SourceError(f"{_short(spec)} cannot be loaded: {_told(failure)}") from failure
    except Exception as failure:
        # The boundary of the loading thread: for a damaged file, the libraries raise whatever they like.
        log.exception("%s cannot be loaded", spec)
        raise SourceError(
            f"{_short(spec)} cannot be loaded: it is damaged or of a form that is not known "
            f"({type(failure).__name__}: {_told(failure)})"
        ) from failure


def _told(failure: Exception) -> str:
    """What an exception says, in one line."""
    words = " ".join(str(failure).split()) or type(failure).__name__
    return words if len(words) <= _LONGEST_REASON else f"{words[:_LONGEST_REASON]}…"


def _short(spec: str) -> str:
    return spec if len(spec) <= _LONGEST_SPEC else f"{spec[:_LONGEST_SPEC]}…"


def _load_generator(name: str, source: ModelSource, options: LoadOptions) -> ServedModel:
    tokenizer = load_tokenizer(source)
    kind = engine_kind(source.engine or ("echo" if source.kind is SourceKind.ECHO else "torch"))
    assert kind.start is not None  # as it has tokens
    with _closed_on_failure(kind.start(source, options.engine, tokenizer.vocab_size)) as engine:
        return _generator(name, source, options, tokenizer, engine)


def _generator(
    name: str, source: ModelSource, options: LoadOptions, tokenizer: Tokenizer, engine: Engine
) -> ServedModel:
    tokenizer = tokenizer.limited(engine.info.vocab_size)
    template = _template(tokenizer)
    dialect = None if template is None else _dialect(name, template, tokenizer, options)
    model = _card(name, source, tokenizer)
    model.tasks.extend([pb.TASK_COMPLETION, *([pb.TASK_CHAT] if template else [])])
    model.context_length = engine.info.context_length
    model.vocabulary_size = engine.info.vocab_size
    model.dtype = engine.info.dtype
    model.engine, model.instruction_set = engine.info.engine, engine.info.instruction_set
    model.supported_parameters.extend(
        name for name in honoured_by(Honour.GENERATING) if name not in engine.info.lacks
    )
    if template is not None:
        model.supported_parameters.extend([*honoured_by(Honour.CHATTING), *read_by(template.variables)])
    if infilling(tokenizer, tokenizer.named) is not None:
        model.supported_parameters.extend(honoured_by(Honour.INFILLING))
    if engine.info.constrains:
        model.supported_parameters.extend(honoured_by(Honour.CONSTRAINING))
        model.constraints.extend(CONSTRAINTS)
    model.continuation.CopyFrom(card.continuation(engine.info))
    defaults = sampling_defaults(source, options.generation_config)
    if defaults.ByteSize():
        model.sampling_defaults.CopyFrom(defaults)
    if template is not None:
        model.chat_template_hash = short_hash(template.source)
    if dialect is not None:
        model.tool_format = dialect.form.name
        model.reasoning_format = "" if dialect.reasoning is None else dialect.reasoning.name
    grammars = _grammars(tokenizer, engine.info)
    if engine.info.embedding_dimensions is None:
        return Generator(model, tokenizer, template, engine, grammars=grammars, dialect=dialect)
    embedder = CausalEmbedder(engine, tokenizer, options.embed)
    _offer_embeddings(model, embedder.info)
    return Generator(model, tokenizer, template, engine, embedder, grammars, dialect)


def _grammars(tokenizer: Tokenizer, info: EngineInfo) -> Grammars | None:
    if not info.constrains:
        return None
    # Imported here: the library that compiles grammars comes with the engines that are constrained.
    from inferloom_worker.constrain.compiler import GrammarCompiler

    return GrammarCompiler(tokenizer, info.vocab_size)


def _template(tokenizer: Tokenizer) -> ChatTemplate | None:
    if tokenizer.chat_template is None:
        return None
    template = ChatTemplate(tokenizer.chat_template, tokenizer.special_tokens)
    with large_imports():
        import jinja2  # noqa: F401 # first, so that its time is not the template's
    _within_limit(template.check)
    return template


def _dialect(name: str, template: ChatTemplate, tokenizer: Tokenizer, options: LoadOptions) -> Dialect:
    formats = {
        "tool_format": chosen_format(options.tool_formats, name),
        "reasoning_format": chosen_format(options.reasoning_formats, name),
    }
    return _within_limit(partial(Dialect, template, tokenizer, **formats))


def _within_limit(work: Callable[[], T]) -> T:
    try:
        return run_within(TEMPLATE_LIMIT_S, work)
    except TimeUp:
        raise ValueError(
            f"the model's chat template did not end within {TEMPLATE_LIMIT_S:g} s on a short conversation"
        ) from None


def _load_encoder(name: str, source: ModelSource, options: LoadOptions) -> ServedModel:
    assert source.path is not None
    encoder = load_encoder(source.path, options.embed)
    with _closed_on_failure(Embedder(encoder, options.embed)) as embedder:
        model = _card(name, source, encoder.reader.tokenizer)
        _offer_embeddings(model, embedder.info)
        _tell_encoder(model, embedder.info)
        return Encoder(model, embedder)


def _load_reranker(name: str, source: ModelSource, options: LoadOptions) -> ServedModel:
    assert source.path is not None
    with _closed_on_failure(PairRanker(load_pair_model(source.path, options.embed), options.embed)) as ranker:
        model = _card(name, source, ranker.reader.tokenizer)
        model.tasks.append(pb.TASK_RERANK)
        _tell_encoder(model, ranker.info)
        return Reranker(model, ranker)


def _load_vllm_encoder(name: str, source: ModelSource, options: LoadOptions) -> ServedModel:
    # Imported here: it brings torch, and few workers have vLLM.
    from inferloom_worker.engines.vllm.encoder_folder import normalizes
    from inferloom_worker.engines.vllm.loading import start

    assert source.path is not None
    unit, tokenizer = normalizes(source.path), load_tokenizer(source)
    with _closed_on_failure(start(source, options.engine, pooling=True)) as engine:
        embedder = CausalEmbedder(engine, tokenizer, options.embed, normalizes=unit)
        model = _card(name, source, tokenizer)
        _offer_embeddings(model, embedder.info)
        _tell_encoder(model, embedder.info)
        return Generator(model, tokenizer, None, engine, embedder)


def _loader(kind: ModelClass, engine: str | None) -> Callable[[str, ModelSource, LoadOptions], ServedModel]:
    if engine != "vllm" or kind is ModelClass.GENERATES:
        return _LOADERS[kind]
    if kind is ModelClass.RANKS:
        raise SourceError("the engine vllm ranks no documents; without its name the model does")
    return _load_vllm_encoder


_LOADERS = {
    ModelClass.GENERATES: _load_generator,
    ModelClass.ENCODES: _load_encoder,
    ModelClass.RANKS: _load_reranker,
}


def _withdraw_embeddings(model: pb.Model) -> None:
    """An adapter changes completions; the base's vectors are asked of the base."""
    kept = [task for task in model.tasks if task != pb.TASK_EMBED]
    if len(kept) < len(model.tasks):
        model.tasks[:] = kept
        model.embedding_dimensions = 0
        of_embeddings = honoured_by(Honour.EMBEDDING, Honour.SHORTENING)
        model.supported_parameters[:] = [p for p in model.supported_parameters if p not in of_embeddings]


def _offer_embeddings(model: pb.Model, info: EmbedderInfo) -> None:
    model.tasks.append(pb.TASK_EMBED)
    model.embedding_dimensions = info.dimensions
    model.supported_parameters.extend(honoured_by(Honour.EMBEDDING))
    if info.shortens:
        model.supported_parameters.extend(honoured_by(Honour.SHORTENING))


def _tell_encoder(model: pb.Model, info: EmbedderInfo | RankerInfo) -> None:
    """What computes a model that generates nothing."""
    model.context_length = info.max_tokens
    model.vocabulary_size = info.vocab_size
    model.dtype = info.dtype
    model.engine, model.instruction_set = info.engine, info.instruction_set


def _card(name: str, source: ModelSource, tokenizer: Tokenizer) -> pb.Model:
    more = source.spec.encode() if source.path is None else b""
    return pb.Model(
        id=name,
        owned_by=OWNER,
        weights_hash=weights_hash(model_files(source), more),
        tokenizer_hash=tokenizer.hash,
        quantization=card.quantization(source),
        root=source.root,
        architecture=card.architecture(source),
    )
