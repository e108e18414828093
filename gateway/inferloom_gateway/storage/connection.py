"""How a connection to the database is made."""

import logging
import sqlite3
from pathlib import Path

log = logging.getLogger(__name__)

BUSY_S = 15.0
"""How long a statement waits for another process's write to end."""

_LOCAL = frozenset(
    (
        *("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "bcachefs", "f2fs", "jfs", "nilfs2", "reiserfs"),
        *("ufs", "tmpfs", "ramfs", "rootfs", "overlay", "aufs", "vfat", "exfat", "ntfs3"),
    )
)
"""File systems of one machine. Any other may be several machines' (all of FUSE, virtiofs), whose memory a WAL
would have to share: it would be torn."""
_MOUNTS = Path("/proc/self/mountinfo")


def connect(path: Path, journal: str) -> sqlite3.Connection:
    """Open the database, making it where it is not there; transactions are begun by whoever needs one.

    Args:
        path: The file.
        journal: ``wal``; ``rollback``, which several machines can share, because no memory has to be; or
            ``auto``: rollback where the file system is not known to be one machine's. While others have it
            open with a WAL, it is that then, which is said in the log.

    Raises:
        sqlite3.Error: It cannot be opened.
    """
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        shared = journal == "rollback" or (journal == "auto" and not local(path))
        _set_journal(connection, "DELETE" if shared else "WAL", must=journal == "rollback")
        connection.execute("PRAGMA synchronous = FULL")  # what was accepted survives a power cut
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
    except BaseException:
        connection.close()
        raise
    return connection


def _set_journal(connection: sqlite3.Connection, mode: str, *, must: bool) -> None:
    try:
        connection.execute(f"PRAGMA journal_mode = {mode}")
    except sqlite3.OperationalError as failure:
        (now,) = connection.execute("PRAGMA journal_mode").fetchone()
        if must or failure.sqlite_errorcode != sqlite3.SQLITE_BUSY or now != "wal":
            raise  # who asks for it by name may have it on several machines
        log.warning(
            "the store keeps its WAL, as another process has it open: only gateways of one machine may share"
            " it until all of them have been stopped at once"
        )


def local(path: Path) -> bool:
    """Whether a path is on a file system of this machine alone. A system that does not tell has no other."""
    try:
        lines = _MOUNTS.read_text(errors="replace").splitlines()
    except OSError:  # not Linux
        return True
    place, kind = "", ""
    resolved = str(path.resolve())
    for line in lines:
        before, _, after = line.partition(" - ")
        mounted = before.split()[4].replace("\\040", " ")
        inside = resolved == mounted or resolved.startswith(mounted.rstrip("/") + "/")
        if inside and len(mounted) >= len(place):
            place, kind = mounted, after.split()[0]
    return kind in _LOCAL
