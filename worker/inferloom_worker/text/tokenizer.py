"""Token ids for text, and text for token ids."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Any

import tokenizers

SPACE = "\u2581"
"""How SentencePiece vocabularies spell a space."""

log = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def byte_alphabet() -> dict[str, int]:
    """The byte that each character of a byte-level vocabulary stands for.

    Printable Latin-1 stands for itself; the other bytes, in order, for the code points from 256.
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(others)}


class Tokenizer:
    """A model's tokenizer. Stateless, and callable from any thread.

    Args:
        backend: The tokenizer itself; its padding and truncation are switched off.
        eos_ids: Tokens that end a completion.
        special_tokens: Named special tokens as chat templates use them, such as ``bos_token``.
        chat_template: The chat template's source. None: the model has none.
        add_bos: Whether encoding with special tokens puts ``bos_token`` first. None: as the backend does.
        named: Tokens that a file gives a purpose, by its name for that.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        *,
        eos_ids: Iterable[int] = (),
        special_tokens: Mapping[str, str] | None = None,
        chat_template: str | None = None,
        add_bos: bool | None = None,
        named: Mapping[str, int] | None = None,
    ) -> None:
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self.eos_ids = frozenset(eos_ids)
        self.special_tokens = dict(special_tokens or {})
        self.chat_template = chat_template
        self.named = dict(named or {})
        self._added = backend.get_added_tokens_decoder()
        self._added_ids = {str(token.content): i for i, token in self._added.items()}
        self._strips = any(token.lstrip or token.rstrip for token in self._added.values())
        self.special_ids = frozenset(i for i, token in self._added.items() if token.special)
        self.vocab_size: int = max(backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1
        decoder = str(backend.decoder)
        self._byte_level = "ByteLevel" in decoder
        self._byte_fallback = "ByteFallback" in decoder
        self._sentencepiece = "Metaspace" in decoder or SPACE in decoder
        self._add_bos = add_bos
        self._bos_fix = self._plan_bos(add_bos)
        self._spelled: dict[int, bytes] = {}

    def limited(self, embeddings: int) -> "Tokenizer":
        """The tokenizer for a model that has ``embeddings`` of them: it gives no other id, whatever the text.

        Special tokens past them that were added to the vocabulary are left out, so that their text is read as
        any other: Gemma 3's files for text have one, id 262144 of 262144, that stands for an image. Any other
        token past them is refused: text contains it. Embeddings that no token has are fine.

        Raises:
            ValueError: There are tokens without an embedding.
        """
        ends = [i for i in self.eos_ids if 0 <= i < embeddings]
        if self.vocab_size <= embeddings and len(ends) == len(self.eos_ids):
            return self
        known = self._backend.get_vocab(with_added_tokens=True)
        past = {text: i for text, i in known.items() if i >= embeddings}
        learned = self._backend.get_vocab(with_added_tokens=False)
        if any(text in learned or i not in self.special_ids for text, i in past.items()):
            raise ValueError(
                f"the tokenizer has {self.vocab_size} tokens, and the model has embeddings for {embeddings}"
            )
        for text, i in past.items():
            log.warning("%s (%d) has no embedding and is read as ordinary text", text, i)
        parts = json.loads(self._backend.to_str())
        parts["added_tokens"] = [token for token in parts["added_tokens"] if token["id"] < embeddings]
        return Tokenizer(
            tokenizers.Tokenizer.from_str(json.dumps(parts)),
            eos_ids=ends,
            special_tokens=self.special_tokens,
            chat_template=self.chat_template,
            add_bos=self._add_bos,
            named={name: token for name, token in self.named.items() if token < embeddings},
        )

    def _plan_bos(self, add_bos: bool | None) -> tuple[int, bool] | None:
        """The begin token and whether to put it before (or take it from) what the backend gives."""
        bos = self._backend.token_to_id(self.special_tokens.get("bos_token", ""))
        if add_bos is None or bos is None:
            return None
        adds = self._backend.encode("a").ids[:1] == [bos]
        return None if adds == add_bos else (bos, add_bos)

    @property
    def added_tokens(self) -> Mapping[int, tokenizers.AddedToken]:
        """Tokens that are found in a text before it is cut into others, by id."""
        return self._added

    @property
    def add_bos(self) -> bool | None:
        """Whether encoding with special tokens puts ``bos_token`` first; None: it is not said."""
        return self._add_bos

    @property
    def bos_id(self) -> int | None:
        """The token that begins a document. None: the model has none."""
        found: int | None = self._backend.token_to_id(self.special_tokens.get("bos_token", ""))
        return found

    def serialized(self) -> str:
        """The tokenizer as a ``tokenizer.json`` has it."""
        return str(self._backend.to_str())

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """The token ids of ``text``. Special tokens spelled out in the text become their ids."""
        # The batch call, because it lets other threads run meanwhile.
        (encoding,) = self._backend.encode_batch_fast([text], add_special_tokens=add_special_tokens)
        ids: list[int] = encoding.ids
        if add_special_tokens and self._bos_fix is not None:
            bos, put = self._bos_fix
            ids = [bos, *ids] if put else ids[1:]
        return ids

    def encodings(self, texts: Sequence[str]) -> list[tokenizers.Encoding]:
        """Texts as they are read without special tokens, with the place of each token in its text."""
        found: list[tokenizers.Encoding] = self._backend.encode_batch(texts, add_special_tokens=False)
        return found

    def joined(self, first: tokenizers.Encoding, second: tokenizers.Encoding) -> tokenizers.Encoding:
        """Two texts as they are read together, with special tokens, each with its segment."""
        return self._backend.post_process(first, second)

    def cut(self, text: str, tokens: int) -> str:
        """The part of a text that its first tokens stand for."""
        (encoding,) = self.encodings([text])
        return text if len(encoding) <= tokens else text[: encoding.offsets[tokens - 1][1]]

    @property
    def pair_tokens(self) -> int:
        """Special tokens that two texts get when they are read together."""
        return int(self._backend.num_special_tokens_to_add(True))

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """The text of ``ids``; bytes that are no UTF-8 become U+FFFD, unknown ids nothing."""
        return str(self._backend.decode(ids, skip_special_tokens=skip_special_tokens))

    def added_id(self, text: str) -> int | None:
        """The token that was added to the vocabulary for just this text. None: there is none."""
        return self._added_ids.get(text)

    def token_id(self, token: str) -> int | None:
        """The id of a token as the vocabulary spells it; None: no such token."""
        found: int | None = self._backend.token_to_id(token)
        return found

    @property
    def begins_with_space(self) -> bool:
        """Whether it may read a text as if a space were before it."""
        return self._sentencepiece

    def token(self, token_id: int) -> str | None:
        """The vocabulary's spelling of a token; None: no such token."""
        found: str | None = self._backend.id_to_token(token_id)
        return found

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that a token adds to a text; none for an unknown id."""
        spelled = self._spelled.get(token_id)
        if spelled is None:
            spelled = self._spell(token_id)
            if spelled:  # ids without a token have no end
                self._spelled[token_id] = spelled
        return spelled

    def _spell(self, token_id: int) -> bytes:
        token = self.token(token_id)
        if token is None:
            return b""
        if token_id in self._added:
            return token.encode()
        if self._byte_level:
            alphabet = byte_alphabet()
            # As the decoder does: a token with any other character stands for itself.
            return bytes(alphabet[c] for c in token) if all(c in alphabet for c in token) else token.encode()
        if self._byte_fallback and len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            return bytes((int(token[3:5], 16),))
        return (token.replace(SPACE, " ") if self._sentencepiece else token).encode()

    def token_text(self, token_id: int) -> str:
        """The text of a token by itself; incomplete characters become U+FFFD."""
        return self.token_bytes(token_id).decode(errors="replace")

    @property
    def joins_bytes(self) -> bool:
        """Whether a text is its tokens' bytes put together, so that it can be decoded token by token."""
        return self._byte_level or self._sentencepiece

    def fewest_tokens(self, text: str) -> int:
        """A lower bound of the tokens of ``text``, at once; 0 where none is known."""
        if not self._byte_level or self._backend.normalizer is not None or self._strips:
            return 0
        return len(text) // self._longest_token

    @cached_property
    def _longest_token(self) -> int:
        return max((len(token) for token in self._backend.get_vocab()), default=1)

    @cached_property
    def hash(self) -> str:
        """Equal for tokenizers that give the same token ids."""
        return short_hash(self._backend.to_str(), self._bos_fix)


def short_hash(*parts: Any) -> str:
    """Sixteen hexadecimal digits of the parts' SHA-256."""
    digest = sha256()
    for part in parts:
        digest.update(str(part).encode(errors="surrogatepass") + b"\0")
    return digest.hexdigest()[:16]
