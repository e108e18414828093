"""From a model's files to one that generates."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from inferloom.parameter_table import Honour
from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.constrain.grammar import Grammars
from inferloom_worker.embed.causal import CausalEmbedder
from inferloom_worker.engine.protocol import Engine, EngineInfo
from inferloom_worker.engines.registry import engine_kind
from inferloom_worker.hosting import card
from inferloom_worker.hosting.capabilities import CONSTRAINTS, honoured_by, read_by
from inferloom_worker.hosting.dialect import Dialect
from inferloom_worker.hosting.generator import Generator
from inferloom_worker.hosting.load_failures import closed_on_failure
from inferloom_worker.hosting.load_options import LoadOptions, chosen_format
from inferloom_worker.hosting.sampling_defaults import sampling_defaults
from inferloom_worker.sourcing.imports import large_imports
from inferloom_worker.sourcing.sources import ModelSource, SourceKind
from inferloom_worker.text.infilling import infilling
from inferloom_worker.text.job import TimeUp, run_within
from inferloom_worker.text.template import ChatTemplate
from inferloom_worker.text.tokenizer import Tokenizer, short_hash
from inferloom_worker.text.tokenizer_loading import load_tokenizer

TEMPLATE_LIMIT_S = 10.0
"""Time that a chat template may take to be tried when it is loaded."""

T = TypeVar("T")


def load_generator(name: str, source: ModelSource, options: LoadOptions) -> Generator:
    """Start a model's engine, to be served as ``name``. Raises whatever the libraries do."""
    tokenizer = load_tokenizer(source)
    kind = engine_kind(source.engine or ("echo" if source.kind is SourceKind.ECHO else "torch"))
    assert kind.start is not None  # as it has tokens
    with closed_on_failure(kind.start(source, options.engine, tokenizer.vocab_size)) as engine:
        return _generator(name, source, options, tokenizer, engine)


def _generator(
    name: str, source: ModelSource, options: LoadOptions, tokenizer: Tokenizer, engine: Engine
) -> Generator:
    tokenizer = tokenizer.limited(engine.info.vocab_size)
    template = _template(tokenizer)
    dialect = None if template is None else _dialect(name, template, tokenizer, options)
    model = card.drawn_up(name, source, tokenizer)
    model.tasks.extend([pb.TASK_COMPLETION, *([pb.TASK_CHAT] if template else [])])
    model.context_length = engine.info.context_length
    model.vocabulary_size = engine.info.vocab_size
    model.dtype = engine.info.dtype
    model.engine, model.instruction_set = engine.info.engine, engine.info.instruction_set
    model.supported_parameters.extend(
        each for each in honoured_by(Honour.GENERATING) if each not in engine.info.lacks
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
    card.offer_embeddings(model, embedder.info)
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
