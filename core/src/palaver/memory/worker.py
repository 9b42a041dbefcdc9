"""The thread of the memory: takes changes and reads off a bounded queue, in order."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from palaver.errors import ConfigError
from palaver.memory import Exchange
from palaver.memory.schema import open_file, open_memory
from palaver.memory.store import Change, Mark, Pair, Play, Store, Write

__all__ = ["Call", "Read", "Worker"]

logger = logging.getLogger("palaver.memory")

COPY_BYTES = 256 * 1024 * 1024
"""A larger file is not copied into the process when it can no longer be written."""
BATCH = 500
"""Exchanges written in one transaction."""
GATHER_S = 0.02
"""How long a write waits for others, in seconds; it is also what a sudden death can lose."""
RETRY_BUSY_MS = 100
"""How long a retry waits for another process; recalls wait behind it."""

Answer = Callable[[Any, BaseException | None], None]


@dataclass(frozen=True, slots=True)
class Read:
    """A wish to recall; `answer` gets a list of exchanges."""

    game: str
    save: str
    pair: Pair
    limit: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class Call:
    """A fork, or something to call once all before it is done; `answer` gets None."""

    what: Mark | Play | Callable[[], None]
    answer: Answer


Task = Write | Read | Call


class Worker:
    """Owns the database; `run` is the thread, `put` is for everybody else.

    Args:
        path: The file, or None.
        keep: Exchanges kept for each pair.
        size: Writes that may wait.
        busy_s: How long to wait for another process, in seconds.
        retry_s: How long to leave a failed file alone, in seconds.
    """

    def __init__(
        self, path: Path | None, *, keep: int, size: int, busy_s: float, retry_s: float
    ) -> None:
        self._path, self._keep, self._busy_s, self._retry_s = path, keep, busy_s, retry_s
        self._size = size
        self._wake = threading.Condition()
        self._tasks: deque[Task] = deque()
        self._writes = 0
        self._dropped = 0
        self._lost = 0
        self._idle = False
        self._urgent = False
        self._stopping = False
        self._closed: Answer | None = None
        self._file: Store | None = None
        # While the file fails: a database in the process, and what the file has missed.
        self._spare: Store | None = None
        self._missed: deque[Change] = deque(maxlen=size)
        self._retry_at = 0.0

    def put(self, task: Task) -> None:
        """Queue a task; never waits. When the queue is full, the oldest write is dropped."""
        with self._wake:
            if not self._stopping:
                if isinstance(task, Write):
                    if self._writes >= self._size:
                        self._drop()
                    self._writes += 1
                else:
                    self._urgent = True
                self._tasks.append(task)
                # While the thread gathers writes, only what somebody waits for disturbs it.
                if self._idle or self._urgent:
                    self._wake.notify()
                return
        if isinstance(task, Write):
            logger.warning("an exchange after the end of the memory is not remembered")
        else:
            task.answer(None, RuntimeError("the memory is closed"))

    def stop(self, closed: Answer) -> None:
        """End the thread once all tasks so far are done; never waits.

        Args:
            closed: Gets None when the database is closed.
        """
        self._closed = closed
        self.put(Call(self._stop, lambda value, error: None))

    def _stop(self) -> None:
        with self._wake:
            self._stopping = True

    def run(self, opened: Answer) -> None:
        """Open the database and serve tasks until `stop`.

        Args:
            opened: Gets the save that each game played last, once the database is open.
        """
        try:
            self._open()
            saves = self._store.saves()
        except BaseException as error:
            self._stop()
            opened(None, error)
            return
        opened(saves, None)
        while not self._stopping:
            with self._wake:
                # Awake from time to time while there is something to bring to the file.
                self._idle = True
                self._wake.wait_for(
                    lambda: bool(self._tasks), self._retry_s if self._spare else None
                )
                self._idle = False
                # Nobody waits for a write: those that follow soon share its transaction.
                self._wake.wait_for(lambda: self._urgent, GATHER_S)
                tasks, self._tasks = self._tasks, deque()
                self._writes = 0
                self._urgent = False
            try:
                self._retry()
                self._serve(tasks)
            except Exception:
                logger.exception("the memory failed")
        self._close()
        if self._closed is not None:
            self._closed(None, None)

    def _drop(self) -> None:
        for number, waiting in enumerate(self._tasks):
            if isinstance(waiting, Write):
                del self._tasks[number]
                self._writes -= 1
                break
        self._dropped += 1
        if self._dropped == 1 or self._dropped % 1_000 == 0:
            logger.warning(
                "%d exchanges were not remembered so far: the memory's disk is too slow",
                self._dropped,
            )

    def _serve(self, tasks: deque[Task]) -> None:
        for is_write, group in groupby(tasks, lambda task: isinstance(task, Write)):
            if is_write:
                writes = [task for task in group if isinstance(task, Write)]
                for start in range(0, len(writes), BATCH):
                    self._apply(writes[start : start + BATCH])
                continue
            for task in group:
                assert not isinstance(task, Write)
                try:
                    task.answer(self._do(task), None)
                except Exception as error:
                    logger.exception("the memory failed")
                    task.answer(None, error)

    def _do(self, task: Read | Call) -> list[Exchange] | None:
        if isinstance(task, Call):
            if isinstance(task.what, Mark | Play):
                self._apply([task.what])
            else:
                task.what()
            return None
        try:
            return self._store.read(task.game, task.save, task.pair, task.limit)
        except sqlite3.Error as error:
            self._fail(error, [])
            return self._store.read(task.game, task.save, task.pair, task.limit)

    @property
    def _store(self) -> Store:
        store = self._spare or self._file
        assert store is not None
        return store

    def _apply(self, changes: Sequence[Change]) -> None:
        try:
            self._store.apply(changes)
        except sqlite3.Error as error:
            self._fail(error, changes)
        except Exception:
            if len(changes) == 1:
                logger.exception("one exchange cannot be remembered")
                return
            # One of them is at fault; the others are not to suffer from it.
            for change in changes:
                self._apply([change])
        else:
            if self._spare is not None:
                self._lost += max(len(self._missed) + len(changes) - self._size, 0)
                self._missed.extend(changes)

    def _open(self) -> None:
        if self._path is None:
            self._file = Store(open_memory(), self._keep)
            return
        try:
            self._file = Store(open_file(self._path, self._busy_s), self._keep)
        except sqlite3.Error as error:
            self._fail(error, [])

    def _fail(self, error: sqlite3.Error, changes: Sequence[Change]) -> None:
        """Go on in the process; `changes` are those that the file did not take."""
        if self._path is None or self._spare is not None:
            logger.error("the memory lost %d exchanges: %s", len(changes), error)
            return
        logger.error(
            "the memory %s cannot be written (%s): make room on its disk, or end the program that "
            "locks it; NPCs remember in the process until it works again",
            self._path,
            error,
        )
        self._spare = Store(self._copy(), self._keep)
        self._wait_for_others(RETRY_BUSY_MS)
        self._retry_at = time.monotonic() + self._retry_s
        self._apply(changes)

    def _copy(self) -> sqlite3.Connection:
        """Return a copy of the file in memory, or an empty one where that is not to be had."""
        copy = open_memory()
        try:
            assert self._path is not None
            if self._file is not None and self._path.stat().st_size <= COPY_BYTES:
                self._file.connection.backup(copy)
        except (sqlite3.Error, OSError) as error:
            logger.warning("the memory so far cannot be read either: %s", error)
            copy.close()
            copy = open_memory()
        return copy

    def _retry(self, *, last: bool = False) -> None:
        """Bring the file up to date, if it works again."""
        if self._spare is None or (not last and time.monotonic() < self._retry_at):
            return
        assert self._path is not None
        try:
            if self._file is None:
                self._file = Store(open_file(self._path, RETRY_BUSY_MS / 1000), self._keep)
            self._file.apply(self._missed)
        except (sqlite3.Error, ConfigError) as error:
            self._retry_at = time.monotonic() + self._retry_s
            if last:
                lost = len(self._missed) + self._lost
                logger.error("%d exchanges are lost: %s", lost, error)
            return
        logger.warning("the memory %s is written again; %d are lost", self._path, self._lost)
        self._missed.clear()
        self._lost = 0
        self._spare.close()
        self._spare = None
        self._wait_for_others(int(self._busy_s * 1000))

    def _wait_for_others(self, busy_ms: int) -> None:
        if self._file is not None:
            self._file.connection.execute(f"PRAGMA busy_timeout = {busy_ms}")

    def _close(self) -> None:
        with self._wake:
            rest, self._tasks = self._tasks, deque()
        self._serve(rest)
        self._retry(last=True)
        for store in (self._spare, self._file):
            if store is not None:
                try:
                    store.close()
                except sqlite3.Error as error:
                    logger.error("the memory did not close well: %s", error)
