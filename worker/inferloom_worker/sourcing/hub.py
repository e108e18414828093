"""Models from a hub, by the hub's own client: into its own cache, where other programs find them too."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from inferloom_worker.sourcing.amounts import Counted

T = TypeVar("T")

FILES = ("*.safetensors", "*.json", "*.txt", "*.jinja", "*.model")
COPIES = ("original/*", "onnx/*", "openvino/*")
"""Folders in which some repositories hold the same weights in other forms."""


class HubError(RuntimeError):
    """A model cannot be had from the hub; the message says why."""


class _StoppedError(Exception):
    """The process ends, and its downloads with it."""


_running: set[threading.Event] = set()
"""What stops each download of this process."""


def fetch(repo: str, on_bytes: Counted) -> Path:
    """The folder of a model of the hub, fetched where it is not here. Blocking.

    What an interrupted try has fetched whole stays; of a file that came in part nothing is kept, and a folder
    that lacks files is never taken for a model.

    Raises:
        HubError: It is not here and cannot be fetched.
    """
    # Imported here: a worker with local models needs no hub client.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    stopped = threading.Event()

    def download() -> Path:
        bar = _bar(on_bytes, _missing(repo), stopped)
        files, copies = list(FILES), list(COPIES)
        return Path(snapshot_download(repo, allow_patterns=files, ignore_patterns=copies, tqdm_class=bar))

    _running.add(stopped)
    try:
        return _interruptible(download, stopped)
    except LocalEntryNotFoundError as failure:
        what = f"only a part of {repo} is" if getattr(failure, "snapshot_path", None) else f"{repo} is not"
        raise HubError(f"{what} on this machine, and no model hub could be reached") from failure
    except GatedRepoError as failure:
        raise HubError(
            f"{repo} is only for who has agreed to its terms: set HF_TOKEN to a token of yours"
        ) from failure
    except RepositoryNotFoundError as failure:
        words = f"the model hub has no model {repo}, or shows it only to who sets HF_TOKEN"
        raise HubError(words) from failure
    except _StoppedError as failure:
        raise HubError(f"{repo} was not fetched: the process ends") from failure
    except Exception as failure:  # the client's network library has errors of its own, which changes
        reason = str(failure).partition("\n")[0] or type(failure).__name__
        raise HubError(f"{repo} could not be fetched from the model hub: {reason}") from failure
    finally:
        _running.discard(stopped)


def stop() -> None:
    """Let go of what comes: the process ends, and would wait for the client's threads. Each ends with the
    piece that it waits for, of at most 10 MiB."""
    for stopped in tuple(_running):
        stopped.set()


def _missing(repo: str) -> int | None:
    """Bytes of the files that are still to come; None: the hub does not say."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.utils import filter_repo_objects  # type: ignore[attr-defined]

    try:
        info = HfApi().model_info(repo, files_metadata=True)
    except Exception:  # the download itself tells what is wrong
        return None
    found = filter_repo_objects(
        info.siblings or [],
        allow_patterns=list(FILES),
        ignore_patterns=list(COPIES),
        key=lambda each: each.rfilename,
    )
    away = [
        each.size
        for each in found
        if not isinstance(try_to_load_from_cache(repo, each.rfilename, revision=info.sha), str)
    ]
    return None if None in away else sum(size or 0 for size in away)


def _bar(on_bytes: Counted, total: int | None, stopped: threading.Event) -> type[Any]:
    """What the hub's client takes in the place of its progress bars: it draws nothing, and counts.

    The client has several of them, of bytes from the network and of bytes on the disk; what is ahead is told.
    Its own total grows with each file that it begins, so that ours is asked for beforehand.
    """
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    lock, ahead = threading.Lock(), 0

    class Bar(tqdm):
        """One of them."""

        def __init__(self, *args: Any, **more: Any) -> None:
            self.counts = more.get("unit") == "B"
            self.come = more.get("initial") or 0
            super().__init__(*args, **{**more, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> bool | None:
            """Count; the exception ends the download in whose thread it is raised."""
            if stopped.is_set():
                raise _StoppedError
            if self.counts:
                self._count(int(n or 0))
            done: bool | None = super().update(n)
            return done

        def _count(self, more: int) -> None:
            nonlocal ahead
            with lock:
                self.come += more
                if self.come > ahead:
                    ahead = self.come
                    on_bytes(ahead, total)

    return Bar


def _interruptible(work: Callable[[], T], stopped: threading.Event) -> T:
    """Do ``work`` so that Ctrl-C is heard meanwhile: the client waits for its threads first."""
    if threading.current_thread() is not threading.main_thread():
        return work()
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as failure:  # it is raised where it is waited for
            failures.append(failure)

    thread = threading.Thread(target=run, name="hub", daemon=True)
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:
        stopped.set()
        raise
    if failures:
        raise failures[0]
    return results[0]
