"""Fifth step: the reply's events pass the filters, in order.

What never waits runs as plain calls, once per event. From the first filter that has to wait, a
task takes over and passes whole sentences on.
"""

# ruff: noqa: RUF001  # marks of many languages look alike

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from palaver.hookcalls import within
from palaver.turn.events import AsyncFilter, Event, Filter, Stop, Text
from palaver.turn.sentences import SentenceSplitter
from palaver.turn.tags import TagFilter

if TYPE_CHECKING:
    from palaver.turn.model import Turn

__all__ = ["FilterChain", "is_async"]

log = logging.getLogger("palaver.plugins")


def is_async(candidate: Filter | AsyncFilter) -> bool:
    """Return whether a filter has to wait."""
    feed = candidate.feed
    # Looked up once for each function: it is asked for every filter of every attempt.
    return _is_async(getattr(feed, "__func__", feed))


@lru_cache(maxsize=256)
def _is_async(function: Callable[..., object]) -> bool:
    return inspect.iscoroutinefunction(function)


class FilterChain:
    """The filters of one attempt at a reply.

    Args:
        turn: The turn, for its trace.
        filters: The filters with their plugins' names, in order.
        out: Takes what comes out at the end.
        limit_s: Time for one call of an async filter, in seconds.
        say: Takes text for which no filter has to be asked; `out` if it is None.
    """

    def __init__(
        self,
        turn: Turn,
        filters: Sequence[tuple[str, Filter | AsyncFilter]],
        out: Callable[[Event], None],
        limit_s: float,
        say: Callable[[str], None] | None = None,
    ) -> None:
        # Where tags are all that is looked for, text without any needs no event.
        only = filters[0][1] if len(filters) == 1 else None
        self._tags = only if isinstance(only, TagFilter) and say is not None else None
        self._say = say
        first = next((i for i, (_, one) in enumerate(filters) if is_async(one)), None)
        self.stopped: Stop | None = None
        self._finished = False
        self._turn = turn
        self._out = out
        self._sync = _SyncStage(turn, filters[:first] if first is not None else filters, self._end)
        self._rest: _AsyncStage | None = None
        if first is not None:
            self._rest = _AsyncStage(turn, filters[first:], out, self._stop, limit_s)

    def feed(self, text: str) -> None:
        """Take the next piece of text from the backend; afterwards look at `stopped`."""
        if self._tags is not None and self._tags.passes(text):
            self._say(text)  # type: ignore[misc]  # there, or `_tags` were not
        elif self.stopped is None and text:
            self._sync.push(0, Text(text))

    @property
    def waits(self) -> bool:
        """Whether one of the filters has to wait."""
        return self._rest is not None

    def redirect(self, out: Callable[[Event], None], say: Callable[[str], None]) -> None:
        """Send what comes out somewhere else from now on."""
        self._out = out
        if self._say is not None:
            self._say = say
        if self._rest is not None:
            self._rest.out = out

    async def finish(self) -> None:
        """Let out what is held back, and wait for the filters that wait."""
        if not self._finished:
            # Once: what filters add at the end must not come twice.
            self._finished = True
            if self.stopped is None:
                self._sync.flush()
        if self._rest is not None:
            await self._rest.finish()

    async def abort(self) -> None:
        """Throw away what is held back."""
        if self._rest is not None:
            await self._rest.abort()

    def _end(self, event: Event) -> None:
        """Take what comes out of the filters that never wait."""
        if type(event) is Stop:
            self._stop(event)
        elif self.stopped is None:
            if self._rest is None:
                self._out(event)
            else:
                self._rest.put(event)

    def _stop(self, stop: Stop) -> None:
        self.stopped = stop
        self._turn.note(f"a filter ended the line: {stop.reason}")


class _SyncStage:
    """Filters that never wait."""

    def __init__(
        self,
        turn: Turn,
        filters: Sequence[tuple[str, Filter | AsyncFilter]],
        out: Callable[[Event], None],
    ) -> None:
        self._turn = turn
        self._names = [name for name, _ in filters]
        self._filters: list[Filter | AsyncFilter | None] = [one for _, one in filters]
        self._out = out
        self._count = len(filters)

    def push(self, index: int, event: Event) -> None:
        """Pass an event through the filters from `index` on."""
        if index == self._count:
            self._out(event)
            return
        current = self._filters[index]
        if current is None:
            self.push(index + 1, event)
            return
        try:
            # Whole before any of it goes on: a generator may fail after it gave the event out.
            results: list[Event] = list(current.feed(event))  # type: ignore[arg-type]  # never async here
        except Exception:
            self._take_out(index)
            self.push(index + 1, event)
            return
        for result in results:
            if type(result) is Stop:
                self._out(result)
                return
            if type(result) is not Text or result.text:
                self.push(index + 1, result)

    def flush(self) -> None:
        """Let every filter give what it holds back, first to last."""
        for index, current in enumerate(self._filters):
            if current is None:
                continue
            try:
                results = list(current.flush())  # type: ignore[arg-type]  # never async here
            except Exception:
                self._take_out(index)
                continue
            for result in results:
                if type(result) is Stop:
                    self._out(result)
                elif type(result) is not Text or result.text:
                    self.push(index + 1, result)

    def _take_out(self, index: int) -> None:
        name = self._names[index]
        log.exception("the filter of plugin %s failed; the reply goes on without it", name)
        self._turn.note(f"the filter of plugin {name} failed")
        broken, self._filters[index] = self._filters[index], None
        try:
            held = list(broken.flush()) if broken is not None else []  # type: ignore[arg-type]
        except Exception:
            return
        for event in held:
            self.push(index + 1, event)


class _AsyncStage:
    """The first filter that waits, and all after it, in a task of their own.

    The queue needs no bound of its own: a reply is bounded in characters.
    """

    def __init__(
        self,
        turn: Turn,
        filters: Sequence[tuple[str, Filter | AsyncFilter]],
        out: Callable[[Event], None],
        stop: Callable[[Stop], None],
        limit_s: float,
    ) -> None:
        self._turn = turn
        self._filters: list[tuple[str, Filter | AsyncFilter] | None] = list(filters)
        self.out = out
        self._stop = stop
        self._limit_s = limit_s
        self._splitter = SentenceSplitter()
        self._last = ""
        self._queue: deque[Event] = deque()
        self._wake = asyncio.Event()
        self._ended = False
        self._halted = False
        self._task = asyncio.get_running_loop().create_task(self._run())

    def put(self, event: Event) -> None:
        """Take an event; text waits until its sentence is whole."""
        if type(event) is Text:
            for sentence in self._splitter.feed(event.text):
                self._queue.append(Text(sentence.text))
        else:
            for sentence in self._splitter.flush():
                self._queue.append(Text(sentence.text))
            self._queue.append(event)
        if self._queue:
            self._wake.set()

    async def finish(self) -> None:
        for sentence in self._splitter.flush():
            self._queue.append(Text(sentence.text))
        self._ended = True
        self._wake.set()
        await self._task

    async def abort(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=1.0)

    async def _run(self) -> None:
        while not self._halted:
            while self._queue and not self._halted:
                await self._push(0, self._queue.popleft())
            if self._ended and not self._queue:
                break
            self._wake.clear()
            if not self._queue and not self._ended:
                await self._wake.wait()
        if not self._halted:
            await self._flush()

    async def _push(self, index: int, event: Event) -> None:
        if self._halted or (type(event) is Text and not event.text):
            return
        if index == len(self._filters):
            self._show(event)
            return
        entry = self._filters[index]
        if entry is None:
            await self._push(index + 1, event)
            return
        results = await self._guard(index, lambda one: one.feed(event), [event])
        for result in results:
            if type(result) is Stop:
                self._halted = True
                self._stop(result)
                return
            await self._push(index + 1, result)

    async def _flush(self) -> None:
        for index, entry in enumerate(self._filters):
            if entry is None:
                continue
            for result in await self._guard(index, lambda one: one.flush(), []):
                if type(result) is Stop:
                    self._halted = True
                    self._stop(result)
                    return
                await self._push(index + 1, result)

    async def _guard(
        self, index: int, call: Callable[[Filter | AsyncFilter], object], otherwise: list[Event]
    ) -> Iterable[Event]:
        entry = self._filters[index]
        assert entry is not None
        name, one = entry
        try:
            return await self._call(call(one))
        except TimeoutError:
            log.warning("the filter of plugin %s was late; the reply goes on without it", name)
            self._turn.note(f"the filter of plugin {name} was late")
        except Exception:
            log.exception("the filter of plugin %s failed; the reply goes on without it", name)
            self._turn.note(f"the filter of plugin {name} failed")
        self._filters[index] = None
        if not otherwise:  # it was in `flush` already
            return ()
        try:
            return [*await self._call(one.flush()), *otherwise]
        except Exception:
            return otherwise

    async def _call(self, result: Any) -> list[Event]:
        return list(await within(result, self._limit_s) if inspect.isawaitable(result) else result)

    def _show(self, event: Event) -> None:
        """Pass an event on, with the space between two sentences that splitting took away."""
        if type(event) is Text:
            # Chinese and Japanese write no space after the full-width marks.
            if self._last and self._last not in "。！？｡" and not event.text[0].isspace():
                event = Text(" " + event.text)
            self._last = event.text[-1]
        self.out(event)
