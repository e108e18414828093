"""A hash of a model's weights: equal hashes compute the same."""

from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

from inferloom_worker.sourcing.sources import ModelSource

WHOLE_BYTES = 1 << 30
"""Files up to this size are hashed whole (a tenth of a second for 100 MB)."""

SAMPLES = 1024
SAMPLE_BYTES = 1 << 20
"""Of larger files: the first megabyte, where the header is, the size, and this many pieces in even steps."""


def weights_hash(source: ModelSource) -> str:
    """Thirty-two hexadecimal digits. Blocking, for about a second at most on a warm disk."""
    spec = source.spec.encode() if source.path is None else b""
    return _digest(_files(source), spec)


def adapter_hash(base: str, folder: Path) -> str:
    """As :func:`weights_hash`, of an adapter on the base that has the hash ``base``."""
    return _digest(
        sorted([*folder.glob("*.safetensors"), *folder.glob("adapter_config.json")]), base.encode()
    )


def _digest(files: Iterable[Path], more: bytes) -> str:
    digest = blake2b(digest_size=16)
    for file in files:
        digest.update(f"{file.name} {file.stat().st_size}\0".encode())
        for piece in _pieces(file):
            digest.update(piece)
    digest.update(more)
    return digest.hexdigest()


def _files(source: ModelSource) -> list[Path]:
    if source.path is None:
        return []
    if source.path.is_file():
        return [source.path]
    return sorted([*source.path.glob("*.safetensors"), *source.path.glob("config.json")])


def _pieces(file: Path) -> Iterable[bytes]:
    size = file.stat().st_size
    with file.open("rb") as stream:
        if size <= WHOLE_BYTES:
            while piece := stream.read(SAMPLE_BYTES):
                yield piece
            return
        for sample in range(SAMPLES + 1):
            stream.seek((size - SAMPLE_BYTES) * sample // SAMPLES)
            yield stream.read(SAMPLE_BYTES)
