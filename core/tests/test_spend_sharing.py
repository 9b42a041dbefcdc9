"""Ceilings that several gateways share through a store, and a store that goes away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from palaver.chain.backend import BackendSettings, BackendType, GenerateRequest, Sampling
from palaver.config.models import Settings
from palaver.errors import StoreError
from palaver.spend import sharing, sums
from palaver.spend.book import read_book
from palaver.spend.governor import Governor, Reservation
from palaver.store import MemoryStore
from palaver.testing.scripted import ScriptedBackend
from palaver.testing.turns import make_turn

WAIT_S = 20


class SharedStore(MemoryStore):
    """A store that several gateways see, and that can go away."""

    shared = True

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.asked = 0
        self.refused = ""
        self.seen: asyncio.Queue[tuple[str, float]] = asyncio.Queue()

    async def add(self, key: str, amount: float, ttl_s: float) -> float:
        """Add to a sum, unless the store is away."""
        self.asked += 1
        if self.away:
            raise StoreError("redis at 127.0.0.1 does not answer")
        if self.refused and key.endswith(self.refused):
            raise StoreError("WRONGTYPE Operation against a key holding the wrong kind of value")
        total = await super().add(key, amount, ttl_s)
        self.seen.put_nowait((key, total))
        return total


class Entry:
    """A backend whose calls cost a dollar for a million tokens."""

    def __init__(self) -> None:
        self.backend = ScriptedBackend("cloud", "Hello.")
        self.backend.settings = BackendSettings(
            type="paid", usd_per_m_prompt=1, usd_per_m_completion=1
        )
        self.type = BackendType("paid", BackendSettings, lambda *_: self.backend, paid=True)


def governor_of(store: SharedStore, data_dir: Path | None = None, **spend: Any) -> Governor:
    """Return a governor that shares through this store."""
    settings = Settings.model_validate({"spend": spend})
    return Governor(settings, {"cloud": Entry()}, data_dir, store=store)


def ask(governor: Governor, tokens: int = 1_000_000) -> bool:
    """Make a call that costs what it may; returns whether it was allowed."""
    turn = make_turn()
    request = GenerateRequest(turn, (), Sampling(max_tokens=tokens))
    found = governor.reserve(turn, "cloud", request)
    if isinstance(found, Reservation):
        governor.settle(found, 0, tokens)
    return isinstance(found, Reservation)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - what is waited for is a number, not an event
            await asyncio.sleep(0)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that was away is tried again at once, and sums are always looked up."""
    monkeypatch.setattr(sharing, "RETRY_S", (0.0, 0.0))
    monkeypatch.setattr(sharing, "REFRESH_S", -1.0)


async def test_two_gateways_keep_to_one_ceiling(at_once: None) -> None:
    """What one has spent, the other knows, also one that begins later."""
    store = SharedStore()
    first, second = governor_of(store, usd_per_day=3), governor_of(store, usd_per_day=3)
    await first.start()
    await second.start()
    assert ask(first)
    assert ask(first)
    await until(lambda: second.spent().get("all", {}).get("", 0) == 2 or not ask_free(second))
    assert ask(second)
    await until(lambda: not ask_free(first))
    third = governor_of(store, usd_per_day=3)
    await third.start()
    await until(lambda: third.spent().get("all", {}).get("") == 3)
    assert not ask(third)
    for one in (first, second, third):
        await one.close()


def ask_free(governor: Governor) -> bool:
    """Look whether there is room for a dollar, and leave it; asks for news of it besides."""
    turn = make_turn()
    found = governor.reserve(turn, "cloud", GenerateRequest(turn, (), Sampling(max_tokens=10**6)))
    if isinstance(found, Reservation):
        governor.settle(found, 0, 0)
    return isinstance(found, Reservation)


async def test_a_store_that_is_away_costs_nothing(
    at_once: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Ceilings hold with what is known, and what was spent meanwhile is told afterwards."""
    caplog.set_level(logging.WARNING, "palaver.spend")
    store = SharedStore()
    governor = governor_of(store, usd_per_day=3)
    await governor.start()
    assert ask(governor)
    await until(lambda: governor.spent()["all"][""] == 1 and not waiting(governor))
    store.away = True
    assert ask(governor)
    assert ask(governor)
    assert not ask(governor)
    asked = store.asked
    await until(lambda: store.asked > asked + 3)
    assert caplog.text.count("the store does not answer") == 1, "once, not for every attempt"
    store.away = False
    await until(lambda: not waiting(governor))
    key = next(key for key in store._values if ":all:" in key)
    assert await MemoryStore.add(store, key, 0, 60) == pytest.approx(3)
    assert "answers again" in caplog.text
    await governor.close()


def waiting(governor: Governor) -> bool:
    """Return whether there is anything that the store was not told yet."""
    assert governor._sharing is not None
    return bool(governor._sharing._waiting)


async def test_what_was_not_told_is_told_by_the_next_process(at_once: None, tmp_path: Path) -> None:
    """A gateway that ends while the store is away leaves a note for the one after it."""
    store = SharedStore()
    store.away = True
    governor = governor_of(store, tmp_path)
    await governor.start()
    assert ask(governor)
    await governor.close()
    store.away = False
    again = governor_of(store, tmp_path)
    await again.start()
    await until(lambda: not waiting(again))
    assert again.spent()["all"][""] == pytest.approx(1)
    await again.close()
    totals = [await store.add(key, 0, 60) for key in list(store._values) if ":all:" in key]
    assert totals == [pytest.approx(1)], "once, not twice"


async def test_what_was_told_is_not_told_again(at_once: None, tmp_path: Path) -> None:
    """A restart tells the store nothing twice; players without a ceiling are nobody's business."""
    store = SharedStore()
    governor = governor_of(store, tmp_path)
    await governor.start()
    assert ask(governor)
    await until(lambda: not waiting(governor))
    await governor.close()
    assert not [key for key in store._values if ":player:" in key]
    again = governor_of(store, tmp_path, usd_per_player_day=2)
    await again.start()
    await until(lambda: not waiting(again))
    await again.close()
    assert store._values
    for key in list(store._values):
        assert await MemoryStore.add(store, key, 0, 60) == pytest.approx(1)
    assert [key for key in store._values if ":player:" in key]


async def test_a_store_that_forgets_is_told_again(at_once: None) -> None:
    """A restart of the store does not reset the day's ceiling."""
    store = SharedStore()
    governor = governor_of(store, usd_per_day=3)
    await governor.start()
    assert ask(governor)
    assert ask(governor)
    await until(lambda: not waiting(governor))
    store._values.clear()
    assert ask(governor)
    await until(lambda: not waiting(governor))
    assert not ask(governor)
    key = next(key for key in store._values if ":all:" in key)
    assert await store.add(key, 0, 60) == pytest.approx(3)
    await governor.close()


async def test_a_sum_that_the_store_refuses_does_not_stop_the_others(
    at_once: None, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried a few times, named in the log, and left; the store counts as there."""
    caplog.set_level(logging.WARNING, "palaver.spend")
    store = SharedStore()
    store.refused = ":player:p1"
    share = sharing.Sharing(store, lambda: 0.0)
    bad = sums.Sum("player", "p1", 1, unpushed=2.0)
    share.push(bad)
    share.start()
    for number in range(2, 30):
        share.push(sums.Sum("player", f"p{number}", 1, unpushed=1.0))
        async with asyncio.timeout(WAIT_S):
            assert (await store.seen.get())[0].endswith(f":p{number}")
    await until(lambda: not share._waiting)
    assert caplog.text.count("does not take the sum spend:1970-01-02:player:p1") == 1
    assert "does not answer" not in caplog.text
    assert bad.unpushed == 2.0, "it is not forgotten"
    store.refused = ""
    share.push(bad)
    await until(lambda: not share._waiting)
    assert bad.unpushed == 0
    await share.close()


async def test_closing_does_not_wait_for_a_store_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bound on what the last words to the store may take."""
    monkeypatch.setattr(sharing, "CLOSE_S", 0.01)
    store = SharedStore()
    begun = asyncio.Event()

    async def hang(key: str, amount: float, ttl_s: float) -> float:
        begun.set()
        await asyncio.Event().wait()
        return 0.0

    monkeypatch.setattr(store, "add", hang)
    governor = governor_of(store)
    await governor.start()
    async with asyncio.timeout(WAIT_S):
        await begun.wait()
        await governor.close()


async def test_sums_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many players there are, only so many are remembered; the idle ones go first."""
    monkeypatch.setattr(sums, "MAX_SUMS", 3)
    book = sums.Sums()
    book.begin(1)
    busy = book.get("player", "busy")
    busy.held = 1.0
    for number in range(10):
        book.get("player", f"p{number}").spent = 1.0
    names = [one.name for one in book.of_today()]
    assert names == ["busy", "p8", "p9"]
    assert book.get("player", "busy") is busy


async def test_sums_add_up_where_gateways_take_turns(at_once: None, tmp_path: Path) -> None:
    """A tier and a backend without a ceiling are asked for too, and the day's file has it."""
    store = SharedStore()
    first = governor_of(store, tmp_path, usd_per_day=9)
    second = governor_of(store, usd_per_day=9)
    await first.start()
    await second.start()
    assert ask(first)
    await until(lambda: first.spent().get("backend") == {"cloud": 1})
    assert ask(second)
    await until(lambda: second.spent().get("backend") == {"cloud": 2})
    ask_free(first)
    await until(lambda: [*first.spent().get("backend", {}).values()] == [2])
    await until(lambda: [*first.spent().get("tier", {}).values()] == [2])
    await until(lambda: first.spent()["all"][""] == 2)
    await first.close()
    await second.close()
    known = read_book(tmp_path)
    assert known is not None
    assert known[1]["backend"]["cloud"]["spent"] == known[1]["all"][""]["spent"] == 2
