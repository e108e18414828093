"""A SQLite database on threads of its own: what is to be written at the same time is committed together."""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from inferloom_gateway.storage.connection import connect
from inferloom_gateway.storage.failures import in_words
from inferloom_mesh.errors import InferloomError, overloaded

T = TypeVar("T")

Work = Callable[[sqlite3.Connection], T]
"""What is done with a connection. It runs on another thread, inside a transaction that is not its own to end,
and touches nothing that belongs to the event loop."""

MOST_WAITING = 4096
"""Pieces of work that may wait for each thread."""

MOST_TOGETHER = 64
"""Pieces of work that one transaction holds at most."""


@dataclass(frozen=True, slots=True)
class _Job:
    work: Work[Any]
    done: Future[Any]


class Database:
    """One database file, open in this process. Other processes may have it open as well.

    Every piece of work is done wholly or not at all, also where several share a transaction.
    """

    def __init__(self, writer: sqlite3.Connection, reader: sqlite3.Connection) -> None:
        self._writer = _Thread("store-writer", writer, "BEGIN IMMEDIATE")
        self._reader = _Thread("store-reader", reader, "BEGIN")

    @classmethod
    def open(cls, path: Path, journal: str, prepare: Work[None]) -> Self:
        """Open it, and let ``prepare`` see to its schema. Blocks.

        Raises:
            sqlite3.Error: It cannot be opened.
        """
        writer = connect(path, journal)
        try:
            prepare(writer)
            return cls(writer, connect(path, journal))
        except BaseException:
            writer.close()
            raise

    async def write(self, work: Work[T]) -> T:
        """Do something that changes the database; when this returns, it is on disk.

        Raises:
            InferloomError: It could not be done, in words for the caller; or what ``work`` raises.
        """
        return await self._writer.do(work)

    async def read(self, work: Work[T]) -> T:
        """Do something that only reads, beside what is being written. Raises as :meth:`write`."""
        return await self._reader.do(work)

    def close(self) -> None:
        """Finish what has been asked for, and close. Blocks until then."""
        for thread in (self._reader, self._writer):
            thread.close()


class _Thread:
    """Does pieces of work on one connection, in the order in which they come."""

    def __init__(self, name: str, connection: sqlite3.Connection, begin: str) -> None:
        self._connection = connection
        self._begin = begin
        self._jobs: queue.Queue[_Job | None] = queue.Queue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def do(self, work: Work[T]) -> T:
        if self._closed or self._jobs.qsize() >= MOST_WAITING:
            raise overloaded("The gateway's store has as much to do as it takes.")
        done: Future[T] = Future()
        self._jobs.put(_Job(work, done))
        try:
            return await asyncio.wrap_future(done)
        except (sqlite3.Error, OSError) as failure:
            raise in_words(failure) from failure

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
            self._thread.join()

    def _run(self) -> None:
        while jobs := self._next():
            if taken := [job for job in jobs if job.done.set_running_or_notify_cancel()]:
                self._together(taken)
        self._connection.close()

    def _next(self) -> list[_Job]:
        """The work that waits; empty if there will be no more."""
        jobs: list[_Job] = []
        while (job := self._jobs.get()) is not None:
            jobs.append(job)
            if len(jobs) == MOST_TOGETHER or self._jobs.empty():
                return jobs
        if jobs:
            self._jobs.put(None)
        return jobs

    def _together(self, jobs: list[_Job]) -> None:
        """Do several pieces of work in one transaction."""
        results: list[tuple[_Job, Any]] = []
        try:
            self._connection.execute(self._begin)
            for job in jobs:
                self._one(job, results)
            self._connection.execute("COMMIT")
        except BaseException as failure:  # whoever waits is told, whatever it is
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            for job in jobs:
                if not job.done.done():
                    job.done.set_exception(failure)
        else:
            for job, result in results:
                job.done.set_result(result)

    def _one(self, job: _Job, results: list[tuple[_Job, Any]]) -> None:
        self._connection.execute("SAVEPOINT job")
        try:
            result = job.work(self._connection)
        except BaseException as failure:
            if not self._connection.in_transaction:  # SQLite has given the whole of it up
                raise
            self._connection.execute("ROLLBACK TO job")
            self._connection.execute("RELEASE job")
            job.done.set_exception(failure.kept() if isinstance(failure, InferloomError) else failure)
        else:
            self._connection.execute("RELEASE job")
            results.append((job, result))
