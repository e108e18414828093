"""The tokenizer inside a GGUF file, built from the file's own tokens, so that ids are the file's."""

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors

from inferloom_worker.text.gguf_special import SPECIAL, TokenType
from inferloom_worker.text.gguf_splits import Split
from inferloom_worker.text.gguf_vocabulary import GgufVocabulary, read_vocabulary
from inferloom_worker.text.tokenizer import SPACE, Tokenizer
from inferloom_worker.weights.gguf import GgufFile

_NAMED = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}


def load_gguf_tokenizer(file: GgufFile) -> Tokenizer:
    """Build the tokenizer of ``file``.

    Raises:
        ValueError: The file has no tokenizer, or one of a kind that is not known.
    """
    vocabulary = read_vocabulary(file)
    template = file.metadata.get("tokenizer.chat_template")
    return Tokenizer(
        build(vocabulary),
        eos_ids=vocabulary.ends,
        special_tokens={
            name: vocabulary.tokens[vocabulary.ids[key]]
            for name, key in _NAMED.items()
            if key in vocabulary.ids
        },
        chat_template=template if isinstance(template, str) else None,
        named=vocabulary.ids,
    )


def build(vocabulary: GgufVocabulary) -> tokenizers.Tokenizer:
    """A tokenizer that gives the ids of ``vocabulary``."""
    split = vocabulary.split
    backend = _sentencepiece(vocabulary) if split is None else _byte_pairs(vocabulary, split)
    backend.add_tokens(
        [
            AddedToken(
                text,
                special=kind is not TokenType.USER_DEFINED,
                normalized=False,
                lstrip=i in vocabulary.left_stripping,
                rstrip=i in vocabulary.right_stripping,
            )
            for i, (text, kind) in enumerate(zip(vocabulary.tokens, vocabulary.types, strict=True))
            if kind in SPECIAL
        ]
    )
    around = [key for key, there in (("bos", vocabulary.add_bos), ("eos", vocabulary.add_eos)) if there]
    if around:
        backend.post_processor = processors.TemplateProcessing(
            single=[*(["bos"] if "bos" in around else []), "$A", *(["eos"] if "eos" in around else [])],
            special_tokens=[(key, vocabulary.ids[key]) for key in around],
        )
    return backend


def _byte_pairs(vocabulary: GgufVocabulary, split: Split) -> tokenizers.Tokenizer:
    ids = {text: i for i, text in enumerate(vocabulary.tokens)}
    # The first of two equal merges counts, and one that makes no token makes nothing.
    merges = [
        m for m in dict.fromkeys(vocabulary.merges) if m[0] in ids and m[1] in ids and "".join(m) in ids
    ]
    backend = tokenizers.Tokenizer(
        models.BPE(ids, merges, ignore_merges=split.whole_words, byte_fallback=split.spelled)
    )
    cuts = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in split.patterns]
    if split.spelled:
        backend.normalizer = normalizers.Replace(" ", SPACE)
        backend.pre_tokenizer = pre_tokenizers.Sequence(cuts)
        backend.decoder = _spelled_decoder(strip=False)
    else:
        bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        backend.pre_tokenizer = pre_tokenizers.Sequence([*cuts, bytes_])
        backend.decoder = decoders.ByteLevel()
    return backend


def _sentencepiece(vocabulary: GgufVocabulary) -> tokenizers.Tokenizer:
    ids = {text: i for i, text in enumerate(vocabulary.tokens)}
    unknown = vocabulary.ids.get("unknown")
    backend = tokenizers.Tokenizer(
        models.BPE(
            ids,
            merges_by_score(vocabulary.tokens, vocabulary.scores),
            unk_token=None if unknown is None else vocabulary.tokens[unknown],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    first = [normalizers.Prepend(SPACE)] if vocabulary.add_space_prefix else []
    backend.normalizer = normalizers.Sequence([*first, normalizers.Replace(" ", SPACE)])
    backend.decoder = _spelled_decoder(strip=vocabulary.add_space_prefix)
    return backend


def _spelled_decoder(*, strip: bool) -> decoders.Sequence:
    first = [decoders.Strip(" ", 1, 0)] if strip else []
    return decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *first])


def merges_by_score(tokens: list[str], scores: list[float]) -> list[tuple[str, str]]:
    """The pairs of tokens that make up tokens, in the order in which SentencePiece joins them.

    It joins the pair whose token has the highest score, and of several the leftmost in the text. A list of
    merges has no such second rule. The longer token first, and of one token the longer left part, comes to
    the same for runs of one character, which are where equal scores occur.
    """
    known = set(tokens)
    pairs = (
        (-score, -len(token), -cut, token)
        for token, score in zip(tokens, scores, strict=True)
        for cut in range(1, len(token))
        if token[:cut] in known and token[cut:] in known
    )
    return [(token[:-less], token[-less:]) for _, _, less, token in sorted(pairs)]
