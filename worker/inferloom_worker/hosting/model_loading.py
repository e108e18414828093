"""From a spec to a served model. Blocking, for seconds: it runs on a thread of its own."""

import logging
from collections.abc import Callable
from pathlib import Path

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.embed.encoder_loading import is_cpu
from inferloom_worker.hosting import card
from inferloom_worker.hosting.finding import find_model
from inferloom_worker.hosting.generator_loading import load_generator
from inferloom_worker.hosting.load_failures import closed_on_failure, refusing, timed
from inferloom_worker.hosting.load_options import LoadOptions
from inferloom_worker.hosting.model_class import ModelClass, model_class
from inferloom_worker.hosting.reader_loading import load_embedder, load_reranker, load_vllm_embedder
from inferloom_worker.hosting.served import ServedModel
from inferloom_worker.hosting.weights_hash import adapter_hash, compute_hash, definition_hash
from inferloom_worker.kernels import kept
from inferloom_worker.sourcing.amounts import Sayings
from inferloom_worker.sourcing.sources import ModelSource, SourceError, SourceKind, resolve_adapter
from inferloom_worker.sourcing.spec import SIDECAR

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
    with refusing(spec):
        kind = model_class(source)
    with (
        timed(name, spec, "torch" if kind is ModelClass.GENERATES else "sentence-transformers"),
        closed_on_failure(_loader(kind, source.engine)(name, source, options)) as served,
    ):
        served.card.definition_hash = definition_hash(served.card, source, options.engine.quantize)
        served.card.compute_hash = compute_hash(served.card)
    served.card.created.GetCurrentTime()
    return served


def _logged(name: str) -> Sayings:
    """Logs how much of a model has come, now and then."""
    return Sayings(name, lambda line: log.info("%s", line))


def _load_sidecar(name: str, source: ModelSource, options: LoadOptions) -> ServedModel:
    with timed(name, source.spec.partition("?")[0], SIDECAR):
        # Imported here: a worker whose models are its own needs no HTTP client.
        from inferloom_worker.hosting.sidecar.loading import load_sidecar

        return load_sidecar(name, source.spec, options.engine)


def load_adapter(name: str, base: ServedModel, spec: str) -> ServedModel:
    """Load the LoRA adapter that ``spec`` names onto ``base``, to be served as ``name``.

    Raises:
        SourceError: It cannot be found, is of a kind that is not supported, or does not fit the base.
    """
    folder = resolve_adapter(spec, lambda words: log.info("%s: %s", name, words), _logged(name))
    with timed(name, spec, "torch"):
        adapter = base.load_adapter(folder)
        model = pb.Model()
        model.CopyFrom(base.card)
        model.ClearField("adapters")
        card.withdraw_embeddings(model)
        model.id, model.parent = name, base.card.id
        model.root = folder.name if folder == Path(spec).expanduser() else spec
        model.weights_hash = adapter_hash(base.card.weights_hash, folder)
        model.definition_hash = adapter_hash(base.card.definition_hash, folder)
        model.compute_hash = adapter_hash(base.card.compute_hash, folder)
        model.created.GetCurrentTime()
    return base.variant(model, adapter)


_LOADERS: dict[ModelClass, Callable[[str, ModelSource, LoadOptions], ServedModel]] = {
    ModelClass.GENERATES: load_generator,
    ModelClass.ENCODES: load_embedder,
    ModelClass.RANKS: load_reranker,
}


def _loader(kind: ModelClass, engine: str | None) -> Callable[[str, ModelSource, LoadOptions], ServedModel]:
    if engine != "vllm" or kind is ModelClass.GENERATES:
        return _LOADERS[kind]
    if kind is ModelClass.RANKS:
        raise SourceError("the engine vllm ranks no documents; without its name the model does")
    return load_vllm_embedder
