"""The SQLite file of the memory: opening it, its tables and how an older one is brought up.

    branches    one line of saves of a game; a fork names its parent and where it left it
    exchanges   what was said and heard, numbered in the order of writing
    games       which save each game played last
    heard       which exchange belongs to which pair; `a` is the smaller id of the two, and the
                pair of '' and X is everything that X heard

`heard` makes no difference between speakers, listeners and the audience: whoever heard an
exchange has a row with each of its speakers. A recall is then one walk along one index.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from palaver.errors import ConfigError

__all__ = ["APPLICATION_ID", "VERSION", "is_passing", "open_file", "open_memory"]

APPLICATION_ID = 0x50414C56
"""Marks the file as ours ("PALV"), so that another program's database is left alone."""

CHECK_BYTES = 64 * 1024 * 1024
"""Up to this size the whole file is checked on start (about 5 ms per MB)."""

_TABLES = (
    """CREATE TABLE branches (
        id INTEGER PRIMARY KEY,
        game TEXT NOT NULL,
        save TEXT,                -- NULL: replaced, and kept only for its forks
        parent INTEGER,           -- NULL: the first of its game
        fork_at INTEGER NOT NULL, -- the parent's exchanges up to this one are remembered
        UNIQUE (game, save)
    )""",
    "CREATE INDEX branches_parent ON branches (parent)",
    # AUTOINCREMENT: a number that was pruned must never come again, forks count on the order.
    """CREATE TABLE exchanges (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        npc TEXT NOT NULL,
        counterpart TEXT,
        said TEXT NOT NULL,
        cue INTEGER NOT NULL,
        reply TEXT NOT NULL,
        at REAL NOT NULL,
        speaker_name TEXT NOT NULL,
        npc_name TEXT NOT NULL
    )""",
    """CREATE TABLE heard (
        branch INTEGER NOT NULL,
        a TEXT NOT NULL,
        b TEXT NOT NULL,
        exchange INTEGER NOT NULL,
        PRIMARY KEY (branch, a, b, exchange)
    ) WITHOUT ROWID""",
    "CREATE INDEX heard_exchange ON heard (exchange)",
)


def _create(connection: sqlite3.Connection) -> None:
    for statement in _TABLES:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _add_games(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE games (game TEXT PRIMARY KEY, save TEXT NOT NULL)")


_STEPS: tuple[Callable[[sqlite3.Connection], None], ...] = (_create, _add_games)
"""Step n brings a file from version n to n + 1; a change of the tables adds one."""

VERSION = len(_STEPS)


def is_passing(error: sqlite3.Error) -> bool:
    """Say whether the file may work again later: it is locked, or the disk is full or failing."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
    )


def open_memory() -> sqlite3.Connection:
    """Open an empty database that lives in this process only."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    _migrate(connection, 0)
    return connection


def open_file(path: Path, busy_s: float) -> sqlite3.Connection:
    """Open the file, make it if it is new, and bring an older one up to date.

    Args:
        path: The file; its folder is made.
        busy_s: How long to wait for another process that is writing, in seconds.

    Raises:
        ConfigError: The file cannot be used; it is left as it is.
        sqlite3.Error: It is locked, or the disk is full or failing; see `is_passing`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Made by hand because of the mode: it holds what players said.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise ConfigError(
            f"cannot open the memory {str(path)!r}: {error.strerror}; make it writable, or set "
            "another `path` under [memory]",
            key="memory.path",
        ) from error
    connection = sqlite3.connect(path, timeout=busy_s, isolation_level=None)
    try:
        _check(connection, path)
    except sqlite3.Error as error:
        connection.close()
        if is_passing(error):
            raise
        raise _unusable(path, str(error)) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    version = _number(connection, "user_version")
    owner = _number(connection, "application_id")
    tables = _number(connection, "schema_version")
    if tables and owner != APPLICATION_ID:
        raise ConfigError(
            f"{str(path)!r} is a database of another program; set another `path` under [memory]",
            key="memory.path",
        )
    if version > VERSION:
        raise ConfigError(
            f"{str(path)!r} was written by a newer Palaver (version {version} of the file, this "
            f"one knows up to {VERSION}); update Palaver, or set another `path` under [memory]",
            key="memory.path",
        )
    if tables and path.stat().st_size <= CHECK_BYTES:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise _unusable(path, str(verdict))
    # Some file systems cannot do WAL; then SQLite stays with its rollback journal, only slower.
    connection.execute("PRAGMA journal_mode = WAL")
    # With WAL this loses nothing when the process dies, and the last moments when the power does.
    connection.execute("PRAGMA synchronous = NORMAL")
    _migrate(connection, version)


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring the tables up to date, wholly or not at all; also finds out if it can be written."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been quicker.
        version = _number(connection, "user_version")
        for step in _STEPS[version:]:
            step(connection)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        # A full disk has rolled back already; the first error is the one that matters.
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    (value,) = connection.execute(f"PRAGMA {pragma}").fetchone()
    return int(value)


def _unusable(path: Path, problem: str) -> ConfigError:
    return ConfigError(
        f"the memory {str(path)!r} cannot be read ({problem}); it was left as it is: move it away "
        f"together with {path.name + '-wal'!r} and {path.name + '-shm'!r}, and start again with "
        "an empty memory, or put a backup in its place",
        key="memory.path",
    )
