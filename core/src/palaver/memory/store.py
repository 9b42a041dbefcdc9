"""What the memory does to its database; synchronous, on one connection, in one thread."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from palaver.memory import Exchange

__all__ = ["Change", "Mark", "Pair", "Play", "Store", "Write", "pair_of", "pairs_of"]

Pair = tuple[str, str]
"""Two ids, the smaller one first; '' and X for everything that X heard."""


def pair_of(npc: str, counterpart: str | None) -> Pair:
    """Return the key under which these two remember each other."""
    if counterpart is None:
        return "", npc
    return (npc, counterpart) if npc <= counterpart else (counterpart, npc)


def pairs_of(exchange: Exchange, audience: Iterable[str]) -> list[Pair]:
    """Return everybody who will recall the exchange, and with whom.

    Those are all pairs of a speaker and somebody who heard it, and every hearer alone. Two who
    only listened have heard nothing of each other.
    """
    speakers = [exchange.npc]
    if exchange.counterpart is not None:
        speakers.append(exchange.counterpart)
    hearers = dict.fromkeys((*speakers, *audience))
    pairs: dict[Pair, None] = {}
    if exchange.counterpart is not None:
        pairs[pair_of(exchange.npc, exchange.counterpart)] = None
    for hearer in hearers:
        pairs["", hearer] = None
        for speaker in speakers:
            if speaker != hearer:
                pairs[pair_of(speaker, hearer)] = None
    return list(pairs)


@dataclass(frozen=True, slots=True)
class Write:
    """An exchange to keep."""

    game: str
    save: str
    exchange: Exchange
    pairs: Sequence[Pair]


@dataclass(frozen=True, slots=True)
class Mark:
    """A fork to make."""

    game: str
    save: str
    new_save: str


@dataclass(frozen=True, slots=True)
class Play:
    """A game plays another save from here on."""

    game: str
    save: str


Change = Write | Mark | Play


class Store:
    """One open database.

    Args:
        connection: A connection in autocommit mode with our tables; closed with the store.
        keep: Exchanges kept for each pair and branch; older ones are deleted.
    """

    def __init__(self, connection: sqlite3.Connection, keep: int) -> None:
        self.connection = connection
        self._keep = keep
        # How many are written for a pair before it is looked through again.
        self._prune_every = max(keep // 10, 1)
        self._written: dict[tuple[int, Pair], int] = {}

    def close(self) -> None:
        """Close the connection; SQLite then folds the WAL into the file."""
        self.connection.close()

    def apply(self, changes: Iterable[Change]) -> None:
        """Make all changes in order, or none of them.

        Raises:
            sqlite3.Error: None was made.
        """
        execute = self.connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            branches: dict[tuple[str, str], int] = {}
            for change in changes:
                if isinstance(change, Write):
                    key = (change.game, change.save)
                    branch = branches.get(key)
                    if branch is None:
                        branch = branches[key] = self._branch(*key)
                    self._write(branch, change)
                elif isinstance(change, Mark):
                    branches.clear()
                    self._mark(change)
                    self._play(change.game, change.new_save)
                else:
                    self._play(change.game, change.save)
            execute("COMMIT")
        except BaseException:
            self._written.clear()
            # After some errors, a full disk among them, SQLite has rolled back by itself.
            with contextlib.suppress(sqlite3.Error):
                execute("ROLLBACK")
            raise

    def read(self, game: str, save: str, pair: Pair, limit: int) -> list[Exchange]:
        """Return the last exchanges of a pair, oldest first, at most `limit`.

        A branch's own are all younger than what it took over from its parent, so the walk up the
        ancestors ends as soon as there are enough.
        """
        execute = self.connection.execute
        row = execute(
            "SELECT id, parent, fork_at FROM branches WHERE game = ? AND save = ?", (game, save)
        ).fetchone()
        upto = 2**63 - 1
        found: list[Exchange] = []
        while row is not None:
            branch, parent, fork_at = row
            found += [
                Exchange(npc, counterpart, said, bool(cue), reply, at, speaker_name, npc_name)
                for npc, counterpart, said, cue, reply, at, speaker_name, npc_name in execute(
                    "SELECT npc, counterpart, said, cue, reply, at, speaker_name, npc_name"
                    " FROM heard JOIN exchanges ON exchanges.id = heard.exchange"
                    " WHERE branch = ? AND a = ? AND b = ? AND exchange <= ?"
                    " ORDER BY exchange DESC LIMIT ?",
                    (branch, *pair, upto, limit - len(found)),
                )
            ]
            if parent is None or len(found) >= limit:
                break
            upto = fork_at
            row = execute(
                "SELECT id, parent, fork_at FROM branches WHERE id = ?", (parent,)
            ).fetchone()
        found.reverse()
        return found

    def saves(self) -> dict[str, str]:
        """Return the save that each game played last."""
        return dict(self.connection.execute("SELECT game, save FROM games").fetchall())

    def _play(self, game: str, save: str) -> None:
        self.connection.execute(
            "INSERT INTO games (game, save) VALUES (?, ?)"
            " ON CONFLICT (game) DO UPDATE SET save = excluded.save",
            (game, save),
        )

    def _branch(self, game: str, save: str) -> int:
        branch = self._find(game, save)
        if branch is None:
            branch = self.connection.execute(
                "INSERT INTO branches (game, save, fork_at) VALUES (?, ?, 0)", (game, save)
            ).lastrowid
        assert branch is not None
        return branch

    def _find(self, game: str, save: str) -> int | None:
        row = self.connection.execute(
            "SELECT id FROM branches WHERE game = ? AND save = ?", (game, save)
        ).fetchone()
        return None if row is None else int(row[0])

    def _write(self, branch: int, write: Write) -> None:
        exchange = write.exchange
        number = self.connection.execute(
            "INSERT INTO exchanges (npc, counterpart, said, cue, reply, at, speaker_name, npc_name)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                exchange.npc,
                exchange.counterpart,
                _storable(exchange.said),
                exchange.cue,
                _storable(exchange.reply),
                exchange.at,
                _storable(exchange.speaker_name),
                _storable(exchange.npc_name),
            ),
        ).lastrowid
        self.connection.executemany(
            "INSERT INTO heard (branch, a, b, exchange) VALUES (?, ?, ?, ?)",
            [(branch, *pair, number) for pair in write.pairs],
        )
        for pair in write.pairs:
            # A pair that this process has not written yet is looked through at once: it may have
            # been left too long by an earlier one.
            written = self._written.get((branch, pair), self._prune_every) + 1
            if written > self._prune_every:
                self._prune(branch, pair)
                written = 0
            self._written[branch, pair] = written
        if len(self._written) > 10_000:
            self._written.clear()

    def _prune(self, branch: int, pair: Pair) -> None:
        """Delete what is older than the last `keep`, but nothing that a fork still recalls."""
        oldest = self.connection.execute(
            "SELECT exchange FROM heard WHERE branch = ? AND a = ? AND b = ?"
            " ORDER BY exchange DESC LIMIT 1 OFFSET ?",
            (branch, *pair, self._keep - 1),
        ).fetchone()
        if oldest is not None:
            where = "branch = ? AND a = ? AND b = ? AND exchange > ? AND exchange < ?"
            self._forget(where, (branch, *pair, self._last_fork(branch), oldest[0]))

    def _forget(self, where: str, values: tuple[object, ...]) -> None:
        """Delete rows of `heard`, and the exchanges that nobody recalls any more."""
        execute = self.connection.execute
        gone = execute(f"SELECT DISTINCT exchange FROM heard WHERE {where}", values).fetchall()
        if gone:
            execute(f"DELETE FROM heard WHERE {where}", values)
            self.connection.executemany(
                "DELETE FROM exchanges WHERE id = ?"
                " AND NOT EXISTS (SELECT 1 FROM heard WHERE exchange = exchanges.id)",
                gone,
            )

    def _last_fork(self, branch: int) -> int:
        (last,) = self.connection.execute(
            "SELECT coalesce(max(fork_at), 0) FROM branches WHERE parent = ?", (branch,)
        ).fetchone()
        return int(last)

    def _mark(self, mark: Mark) -> None:
        execute = self.connection.execute
        replaced = self._find(mark.game, mark.new_save)
        if replaced is not None:
            execute("UPDATE branches SET save = NULL WHERE id = ?", (replaced,))
        parent = self._find(mark.game, mark.save)
        if parent is not None:
            execute(
                "INSERT INTO branches (game, save, parent, fork_at)"
                " VALUES (?, ?, ?, (SELECT coalesce(max(id), 0) FROM exchanges))",
                (mark.game, mark.new_save, parent),
            )
        if replaced is not None:
            self._tidy(replaced)

    def _tidy(self, branch: int) -> None:
        """Clear away a branch that was replaced, or join it with its only fork.

        So there are never more than twice as many branches as saves, however often a game saves
        over its slots.
        """
        execute = self.connection.execute
        todo: int | None = branch
        while todo is not None:
            branch, todo = todo, None
            row = execute("SELECT save, parent FROM branches WHERE id = ?", (branch,)).fetchone()
            if row is None or row[0] is not None:
                break
            forks = execute("SELECT id FROM branches WHERE parent = ?", (branch,)).fetchall()
            self._forget("branch = ? AND exchange > ?", (branch, self._last_fork(branch)))
            if not forks:
                execute("DELETE FROM branches WHERE id = ?", (branch,))
                todo = row[1]
            elif len(forks) == 1:
                self._join(branch, forks[0][0])
        self._written.clear()

    def _join(self, parent: int, child: int) -> None:
        """Make one branch of a nameless parent and its only child; the smaller one is moved."""
        execute = self.connection.execute
        keep, move = (parent, child) if self._size(parent) > self._size(child) else (child, parent)
        (game, save) = execute("SELECT game, save FROM branches WHERE id = ?", (child,)).fetchone()
        (above, fork_at) = execute(
            "SELECT parent, fork_at FROM branches WHERE id = ?", (parent,)
        ).fetchone()
        execute("UPDATE heard SET branch = ? WHERE branch = ?", (keep, move))
        execute("UPDATE branches SET parent = ? WHERE parent = ?", (keep, child))
        execute("DELETE FROM branches WHERE id = ?", (move,))
        execute(
            "UPDATE branches SET game = ?, save = ?, parent = ?, fork_at = ? WHERE id = ?",
            (game, save, above, fork_at, keep),
        )

    def _size(self, branch: int) -> int:
        (size,) = self.connection.execute(
            "SELECT count(*) FROM (SELECT 1 FROM heard WHERE branch = ? LIMIT 100000)", (branch,)
        ).fetchone()
        return int(size)


def _storable(text: str) -> str:
    """Replace halves of surrogate pairs, which an engine may send and SQLite cannot store."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
