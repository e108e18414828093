"""From a model's files to one that reads texts and generates none: an encoder, or a cross-encoder."""

from inferloom.v1 import inference_pb2 as pb
from inferloom_worker.embed.causal import CausalEmbedder
from inferloom_worker.embed.embedder import Embedder
from inferloom_worker.embed.encoder_loading import load_encoder
from inferloom_worker.embed.pair_loading import load_pair_model
from inferloom_worker.embed.pair_ranker import PairRanker
from inferloom_worker.hosting import card
from inferloom_worker.hosting.generator import Generator
from inferloom_worker.hosting.load_failures import closed_on_failure
from inferloom_worker.hosting.load_options import LoadOptions
from inferloom_worker.hosting.reader import Encoder, Reranker
from inferloom_worker.sourcing.sources import ModelSource
from inferloom_worker.text.tokenizer_loading import load_tokenizer


def load_embedder(name: str, source: ModelSource, options: LoadOptions) -> Encoder:
    """Load a model that gives vectors, to be served as ``name``. Raises whatever the libraries do."""
    assert source.path is not None
    encoder = load_encoder(source.path, options.embed)
    with closed_on_failure(Embedder(encoder, options.embed)) as embedder:
        model = card.drawn_up(name, source, encoder.reader.tokenizer)
        card.offer_embeddings(model, embedder.info)
        card.tell_reader(model, embedder.info)
        return Encoder(model, embedder)


def load_reranker(name: str, source: ModelSource, options: LoadOptions) -> Reranker:
    """Load a cross-encoder; the same."""
    assert source.path is not None
    with closed_on_failure(PairRanker(load_pair_model(source.path, options.embed), options.embed)) as ranker:
        model = card.drawn_up(name, source, ranker.reader.tokenizer)
        model.tasks.append(pb.TASK_RERANK)
        card.tell_reader(model, ranker.info)
        return Reranker(model, ranker)


def load_vllm_embedder(name: str, source: ModelSource, options: LoadOptions) -> Generator:
    """Have vLLM load a model that gives vectors; the same."""
    # Imported here: it brings torch, and few workers have vLLM.
    from inferloom_worker.engines.vllm.encoder_folder import normalizes
    from inferloom_worker.engines.vllm.loading import start

    assert source.path is not None
    unit, tokenizer = normalizes(source.path), load_tokenizer(source)
    with closed_on_failure(start(source, options.engine, pooling=True)) as engine:
        embedder = CausalEmbedder(engine, tokenizer, options.embed, normalizes=unit)
        model = card.drawn_up(name, source, tokenizer)
        card.offer_embeddings(model, embedder.info)
        card.tell_reader(model, embedder.info)
        return Generator(model, tokenizer, None, engine, embedder)
