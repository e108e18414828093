"""Files that are not there yet: Git LFS has pointers in their place. Needs no library, as settings do not."""

from pathlib import Path

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
"""How the text begins that Git has in a large file's place until Git LFS fetches it."""


class CheckpointError(ValueError):
    """A file of weights is missing or damaged; the message says which, and how."""


def refuse_pointer(path: Path) -> None:
    """Make sure that a file is not one of Git's pointers to it.

    Raises:
        CheckpointError: It is.
    """
    with path.open("rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise CheckpointError(
                f"{path.name} is a Git LFS pointer and not the file itself; run 'git lfs pull'"
            )
