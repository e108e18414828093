"""Makes screenshots small: with as many colours as a palette has, which is nearly all that a page shows."""

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Colours = NDArray[np.int32]

_HEAD = b"\x89PNG\r\n\x1a\n"
_COLOURS = 256


def shrink(file: Path) -> None:
    """Write a picture of 8-bit RGB or RGBA without interlacing, as browsers make them, with a palette: each
    colour as the nearest of its own.

    Raises:
        ValueError: It is another kind of picture.
    """
    pixels = _decoded(file.read_bytes())
    packed = (pixels.astype(np.uint32) << np.array([16, 8, 0], np.uint32)).sum(axis=2, dtype=np.uint32)
    colours, places, counts = np.unique(packed, return_inverse=True, return_counts=True)
    rgb = ((colours[:, None] >> np.array([16, 8, 0], np.uint32)) & 255).astype(np.int32)
    kept = _chosen(rgb, counts)
    nearest = np.array([((kept - each) ** 2).sum(axis=1).argmin() for each in rgb], np.uint8)
    file.write_bytes(_encoded(nearest[places].reshape(packed.shape), kept.astype(np.uint8)))


def _chosen(colours: Colours, counts: NDArray[np.intp]) -> Colours:
    """The colours of the palette: the most frequent one, and then always that which is missed most, by its
    distance from all before it and how often it is there. So what is rare and unlike everything is kept."""
    kept = [colours[counts.argmax()]]
    missed = ((colours - kept[0]) ** 2).sum(axis=1)
    while len(kept) < min(_COLOURS, len(colours)):
        kept.append(colours[(missed * np.sqrt(counts)).argmax()])
        missed = np.minimum(missed, ((colours - kept[-1]) ** 2).sum(axis=1))
    return np.array(kept)


def _decoded(data: bytes) -> Bytes:
    if not data.startswith(_HEAD):
        raise ValueError("this is no PNG")
    at, body, head = len(_HEAD), b"", b""
    while at < len(data):
        (length,), kind = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        part = data[at + 8 : at + 8 + length]
        head, body = (part, body) if kind == b"IHDR" else (head, body + part if kind == b"IDAT" else body)
        at += length + 12
    width, height, depth, colour, *_, interlaced = struct.unpack(">IIBBBBB", head)
    if depth != 8 or colour not in (2, 6) or interlaced:
        raise ValueError("a PNG of 8-bit RGB or RGBA is expected")
    size = 3 if colour == 2 else 4
    rows = np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, 1 + width * size)
    made, above = np.empty((height, width, size), np.uint8), np.zeros((width, size), np.uint8)
    for number, row in enumerate(rows):
        above = made[number] = _unfiltered(int(row[0]), row[1:].reshape(width, size), above)
    return made[:, :, :3]


def _unfiltered(kind: int, row: Bytes, above: Bytes) -> Bytes:
    """A row of pixels without its filter (PNG specification, 9.2)."""
    if kind == 0:
        return row
    if kind == 1:
        return np.add.accumulate(row, axis=0, dtype=np.uint8)
    if kind == 2:
        return row + above
    made: list[list[int]] = []
    left = corner = [0] * row.shape[1]
    for new, up in zip(row.tolist(), above.tolist(), strict=True):
        if kind == 3:
            left = [(n + (a + b) // 2) & 255 for n, a, b in zip(new, left, up, strict=True)]
        else:
            left = [(n + _paeth(a, b, c)) & 255 for n, a, b, c in zip(new, left, up, corner, strict=True)]
        corner = up
        made.append(left)
    return np.array(made, np.uint8)


def _paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    return min((abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner))[2]


def _encoded(places: Bytes, palette: Bytes) -> bytes:
    height, width = places.shape
    rows = np.hstack([np.zeros((height, 1), np.uint8), places]).tobytes()
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", palette.tobytes()),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    )
    return _HEAD + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )
