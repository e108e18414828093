"""Frames are the same however their bytes are cut."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferloom_mesh.frames import LARGEST_FRAME, PREAMBLE, FrameError, FrameReader, framed

SMALL = st.lists(st.binary(max_size=40), max_size=8)


def read(reader: FrameReader, *pieces: bytes) -> list[bytes]:
    """The frames that come of some pieces."""
    found = []
    for piece in pieces:
        reader.feed(piece)
        while (frame := reader.next()) is not None:
            found.append(frame)
    return found


@given(frames=SMALL, data=st.data())
def test_every_cut_gives_the_same_frames(frames: list[bytes], data: st.DataObject) -> None:
    """The preamble and the lengths may be cut too."""
    whole = PREAMBLE + b"".join(map(framed, frames))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    reader = FrameReader()
    assert read(reader, *pieces) == frames
    assert not reader.partial


@given(frames=SMALL)
def test_bytes_that_come_one_by_one_give_the_same_frames(frames: list[bytes]) -> None:
    """All cuts at once."""
    whole = PREAMBLE + b"".join(map(framed, frames))
    assert read(FrameReader(), *(bytes([byte]) for byte in whole)) == frames


@given(frames=SMALL, cut=st.integers(1, 20))
def test_a_frame_that_is_cut_waits(frames: list[bytes], cut: int) -> None:
    """It is no frame until its last byte has come."""
    whole = PREAMBLE + b"".join(map(framed, (*frames, b"x" * 20)))
    reader = FrameReader()
    assert read(reader, whole[:-cut]) == frames
    assert reader.partial
    assert read(reader, whole[-cut:]) == [b"x" * 20]


@given(noise=st.binary(min_size=1, max_size=200))
@settings(max_examples=200)
def test_noise_is_a_frame_error_or_waits(noise: bytes) -> None:
    """Whatever comes, nothing else is raised, and no more than came is held."""
    reader = FrameReader()
    try:
        assert read(reader, noise) == []
    except FrameError:
        assert not PREAMBLE.startswith(noise[: len(PREAMBLE)])


def test_a_wrong_preamble_is_told_by_its_first_byte() -> None:
    """A TLS client, or one of HTTP, is not waited for."""
    for first in (b"\x16\x03\x01", b"G", b"inferloom-link/2"):
        reader = FrameReader()
        reader.feed(first)
        with pytest.raises(FrameError, match="not this protocol"):
            reader.next()


def test_the_largest_frame_passes_and_one_more_byte_does_not() -> None:
    """The length is judged before anything of the frame has come."""
    reader = FrameReader(b"")
    largest = b"y" * LARGEST_FRAME
    assert read(reader, framed(largest)) == [largest]
    reader.feed((LARGEST_FRAME + 1).to_bytes(4, "big"))
    with pytest.raises(FrameError, match="1048577 bytes"):
        reader.next()


def test_a_large_frame_in_small_pieces_is_not_copied_again_and_again() -> None:
    """A megabyte in pieces of 16 bytes: copying all that is held for each would move 34 GB."""
    whole = framed(b"z" * LARGEST_FRAME)
    pieces = [whole[at : at + 16] for at in range(0, len(whole), 16)]
    began = time.process_time()
    assert len(read(FrameReader(b""), *pieces)) == 1
    assert time.process_time() - began < 2.0
