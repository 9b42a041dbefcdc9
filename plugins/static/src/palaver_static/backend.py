"""The backend: picks a line and remembers that it was said."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field

from palaver.chain.backend import (
    BackendContext,
    Finish,
    GenerateRequest,
    Health,
    ModelInfo,
    Purpose,
)
from palaver.errors import BackendRefused
from palaver.prompt.bounds import Budget
from palaver.turn.model import Turn
from palaver.world.conditions import Condition
from palaver.world.lines import Line
from palaver_static.config import StaticSettings
from palaver_static.index import LineIndex, Pool

__all__ = ["StaticBackend"]

MAX_INDEXES = 256
MAX_USED = 1_000
"""Lines remembered for one pair; more than that come only from files that were edited meanwhile."""
MAX_REPORTED = 100
"""Broken conditions that whoever runs the server is told about, each once."""
PICK_STEPS = 50_000
"""What all conditions of one choice may do together, about eight milliseconds."""

Used = dict[str, int]
"""When each line was said last, by its id; a higher number is later."""


@dataclass(slots=True)
class _Pick:
    """What one choice knows of the conditions it looked at."""

    broken: set[str] = field(default_factory=set)
    budget: Budget = field(default_factory=lambda: Budget(PICK_STEPS))
    spent: bool = False


class StaticBackend:
    """Answers from the authored lines of the turn's persona.

    Attributes:
        name: Its name in `palaver.toml`.
        settings: Its settings.
    """

    def __init__(self, name: str, settings: StaticSettings, context: BackendContext) -> None:
        self.name = name
        self.settings = settings
        self._context = context
        self._random = random.Random()
        self._indexes: OrderedDict[tuple[str, str], LineIndex] = OrderedDict()
        self._used: OrderedDict[tuple[str, str, str], Used] = OrderedDict()
        self._reported: set[str] = set()
        self._count = 0

    async def start(self) -> None:
        """Nothing to get ready."""

    async def close(self) -> None:
        """Forget what was said; safe to call twice."""
        self._indexes.clear()
        self._used.clear()

    async def generate(self, request: GenerateRequest, /) -> AsyncGenerator[str | Finish, None]:
        """Yield one line, whole, then the finish.

        Raises:
            BackendRefused: There is no line that may be said, or the reply has to be data.
        """
        if request.schema is not None:
            raise BackendRefused(self.name, "authored lines cannot follow a schema")
        turn = request.turn
        seed = request.seed if request.seed is not None else turn.seed
        yield self.pick(turn, seed, request.purpose).text
        yield Finish()

    def pick(self, turn: Turn, seed: int | None = None, purpose: Purpose = "reply") -> Line:
        """Choose the line that answers a turn, and remember that it was said.

        Args:
            turn: The turn.
            seed: Makes the choice repeatable, given the same lines said before; or None.
            purpose: `filler` takes lines of that intent only; `closing` likewise, and an answer
                where there are none.

        Raises:
            BackendRefused: There is none.
        """
        if turn.given_prompt is not None:
            raise BackendRefused(self.name, "a prompt of the client's own has no authored lines")
        name = turn.persona.front.lines or turn.persona.id
        lines = turn.world.lines.get(name)
        if not lines:
            raise BackendRefused(
                self.name,
                f"no authored lines for persona {turn.persona.id!r}: add lines/{name}.csv",
            )
        index = self._index(turn.world.name, name, lines)
        used = self._used_by(turn, index)
        dice = self._random if seed is None else random.Random(seed)
        intent = turn.intent or "other"
        pick = _Pick()
        for pool in self._pools(index, turn, intent, purpose):
            line = self._choose(pool, turn, used, dice, pick)
            if line is not None:
                self._count += 1
                used[line.id] = self._count
                return line
        if purpose == "filler":
            raise BackendRefused(self.name, f"lines/{name}.csv has no line of the intent `filler`")
        raise BackendRefused(
            self.name,
            f"no line of lines/{name}.csv may be said now (intent {intent}, lang {turn.lang}): "
            "add one with the intent `any` and without `when` and `mood`",
        )

    def _pools(self, index: LineIndex, turn: Turn, intent: str, purpose: Purpose) -> Iterator[Pool]:
        langs = turn.lang, turn.persona.front.lang
        if purpose != "reply":
            yield from index.pools(*langs, purpose)
        if purpose != "filler":
            yield from index.pools(*langs, intent)

    def _choose(
        self, pool: Pool, turn: Turn, used: Used, dice: random.Random, pick: _Pick
    ) -> Line | None:
        """Choose from one pool: unused and most particular first, then the one said longest ago."""
        sayable: list[Line] = []
        for lines in pool:
            fresh: list[Line] = []
            best = 0
            for line in lines:
                if line.mood and line.mood != turn.mood:
                    continue
                if line.when is not None and not self._holds(line, turn, pick):
                    continue
                sayable.append(line)
                if line.id in used:
                    continue
                # A line for this very mood or situation would be wasted on a later chance.
                particular = (line.mood != "") + (line.when is not None)
                if particular > best:
                    best = particular
                    fresh.clear()
                if particular == best:
                    fresh.append(line)
            if fresh:
                return dice.choice(fresh)
        return min(sayable, key=lambda line: used[line.id], default=None)

    def _holds(self, line: Line, turn: Turn, pick: _Pick) -> bool:
        """Say whether the line's condition is true; one that fails is not, and is noted once."""
        when = line.when
        assert when is not None
        try:
            if not isinstance(when, Condition):
                return bool(when(turn.variables))
            if when.retired or pick.spent:
                return False
            # Not called: it would take care of its errors, and the trace wants them.
            return when.evaluate(turn.variables, pick.budget)
        except Exception as error:
            if pick.budget.steps <= 0:
                pick.spent = True
                turn.note("the conditions of lines do too much; not all lines were looked at")
                if not getattr(when, "retired", False):
                    return False  # The others used it up.
            if line.id not in pick.broken:
                pick.broken.add(line.id)
                note = f"line {line.id}: its condition failed, so it is not spoken: {error}"
                turn.note(note)
                if line.id not in self._reported and len(self._reported) < MAX_REPORTED:
                    self._reported.add(line.id)
                    self._context.report(note)
            return False

    def _index(self, world: str, name: str, lines: Sequence[Line]) -> LineIndex:
        key = (world, name)
        index = self._indexes.get(key)
        if index is None or index.lines is not lines:
            index = self._indexes[key] = LineIndex(lines)
            if len(self._indexes) > MAX_INDEXES:
                self._indexes.popitem(last=False)
        return index

    def _used_by(self, turn: Turn, index: LineIndex) -> Used:
        """Return what was said to the player, or to whoever else is there."""
        key = (turn.game, turn.persona.id, turn.counterpart or f"\0{turn.npc.id}")
        used = self._used.get(key)
        if used is None:
            used = self._used[key] = {}
            if len(self._used) > self.settings.conversations:
                self._used.popitem(last=False)
            # After a restart, what is remembered of the talk tells what was said.
            for exchange in turn.history:
                line_id = index.by_text.get(exchange.reply)
                if line_id is not None:
                    self._count += 1
                    used[line_id] = self._count
        else:
            self._used.move_to_end(key)
            if len(used) >= MAX_USED:
                for line_id in sorted(used, key=used.__getitem__)[: MAX_USED // 2]:
                    del used[line_id]
        return used

    async def health(self) -> Health:
        """Count lines, and name the personas that have none."""
        if self._context.world is None:
            return Health(True, "speaks the authored lines of each turn's world")
        world = self._context.world()
        names = {one.id: one.front.lines or one.id for one in world.personas.values()}
        without = sorted(one for one, name in names.items() if not world.lines.get(name))
        count = sum(len(lines) for lines in world.lines.values())
        if not count:
            return Health(False, "no authored lines: put CSV files into the world's `lines` folder")
        detail = f"{count} lines, {len(names) - len(without)} of {len(names)} personas have some"
        if without:
            detail += f"; add lines/*.csv for {', '.join(without[:10])}"
            detail += f" and {len(without) - 10} more" if len(without) > 10 else ""
        return Health(True, detail)

    async def models(self) -> Sequence[ModelInfo]:
        """No models."""
        return ()
