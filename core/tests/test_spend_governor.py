"""The spend governor: ceilings hold, whatever runs at once, and the log says so once."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from palaver.chain.backend import BackendSettings, BackendType, GenerateRequest, Sampling
from palaver.config.models import Settings, Tier
from palaver.prompt.sections import Message
from palaver.spend.book import FILE, SLICE, Book, read_book
from palaver.spend.governor import OFF, Governor, Reservation
from palaver.spend.sums import Sums
from palaver.testing.scripted import ScriptedBackend
from palaver.testing.turns import make_turn
from palaver.turn.model import Turn

DAY_S = 86_400


@dataclass
class Configured:
    """A configured backend with its type."""

    backend: Any
    type: BackendType


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 20_000.0 * DAY_S + 100

    def __call__(self) -> float:
        return self.now


def configured(name: str, *, paid: bool = True, **fields: Any) -> Configured:
    """Return a backend whose calls cost a dollar for a million tokens, unless `fields` say else."""
    fields = {"usd_per_m_prompt": 1.0, "usd_per_m_completion": 1.0} | fields
    backend = ScriptedBackend(name, "Hello.")
    backend.settings = BackendSettings(type="paid", **fields)
    kind = BackendType("paid", BackendSettings, lambda *_: backend, paid=paid)
    return Configured(backend, kind)


Make = Callable[..., Governor]


@pytest.fixture
def clock() -> Clock:
    """Time, as the governor sees it."""
    return Clock()


@pytest.fixture
def make(clock: Clock) -> Make:
    """Makes a governor of a backend `cloud` with these `[spend]` settings."""

    def build(data_dir: Path | None = None, **spend: Any) -> Governor:
        settings = Settings.model_validate({"spend": spend})
        entries = {"cloud": configured("cloud"), "free": configured_free()}
        return Governor(settings, entries, data_dir, clock=clock)

    return build


def configured_free() -> Configured:
    """Return a backend that costs nothing."""
    return configured("free", paid=False, usd_per_m_prompt=None, usd_per_m_completion=None)


def request_of(turn: Turn, max_tokens: int = 1_000_000, text: str = "") -> GenerateRequest:
    """Return a request that may cost a dollar, and a little for its prompt."""
    messages = [Message("user", text)] if text else []
    return GenerateRequest(turn, messages, Sampling(max_tokens=max_tokens))


def held(governor: Governor, turn: Turn | None = None, **fields: Any) -> Reservation:
    """Return a reservation that must be there."""
    turn = turn or make_turn()
    found = governor.reserve(turn, "cloud", request_of(turn, **fields))
    assert isinstance(found, Reservation), found
    return found


def refusal(governor: Governor, turn: Turn | None = None) -> str:
    """Return why a call that may cost a dollar is refused."""
    turn = turn or make_turn()
    found = governor.reserve(turn, "cloud", request_of(turn))
    assert isinstance(found, str)
    return found


async def test_nothing_is_counted_for_what_is_free(make: Make) -> None:
    """A backend without a price is always asked, even below a ceiling of 0."""
    governor, turn = make(usd_per_day=0), make_turn()
    found = governor.reserve(turn, "free", request_of(turn))
    assert isinstance(found, Reservation)
    assert governor.settle(found, 1_000, 1_000) == 0.0
    assert governor.spent() == {}


async def test_what_a_call_cost(make: Make) -> None:
    """The cost is that of the tokens it had; what is not said counts at its worst."""
    governor = make()
    assert governor.settle(held(governor), 500_000, 250_000, 100_000) == pytest.approx(0.75)
    assert governor.settle(held(governor, text="x" * 4_000), None, None) == pytest.approx(1.001008)
    assert governor.spent()["all"][""] == pytest.approx(1.751008)
    assert governor.spent()["backend"] == {"cloud": pytest.approx(1.751008)}
    assert governor.spent()["player"] == {"default/ada": pytest.approx(1.751008)}


async def test_settling_twice_counts_once(make: Make) -> None:
    """Whoever settles a call again learns what it cost, and nothing is added."""
    governor = make()
    reservation = held(governor)
    assert governor.settle(reservation, 0, 10) == governor.settle(reservation, 0, 999_999)
    assert governor.spent()["all"][""] == pytest.approx(10 / 1e6)


async def test_calls_at_once_never_go_beyond_a_ceiling(make: Make) -> None:
    """However calls begin and end beside each other, no more is spent than may be."""
    dice = random.Random(7)
    for _ in range(20):
        governor = make(usd_per_day=5, usd_per_player_day=2)
        under_way: list[Reservation] = []
        for _ in range(300):
            turn = make_turn(player=dice.choice(["ada", "bob", "eve", "joe"]))
            tokens = dice.randrange(1, 400_000)
            found = governor.reserve(turn, "cloud", request_of(turn, tokens))
            if isinstance(found, Reservation):
                under_way.append(found)
            while under_way and dice.random() < 0.4:
                one = under_way.pop(dice.randrange(len(under_way)))
                governor.settle(one, 0, dice.randrange(one.max_tokens + 1))
        for one in under_way:
            governor.settle(one, 0, one.max_tokens)
        spent = governor.spent()
        assert spent["all"][""] <= 5 + 1e-9
        assert max(spent["player"].values()) <= 2 + 1e-9
        assert spent["all"][""] > 3, "the ceiling is also used"


async def test_a_ceiling_of_0(make: Make) -> None:
    """Nothing that costs money is asked."""
    assert refusal(make(usd_per_day=0)) == "the ceiling of $0.00 a day leaves no room for it"
    governor = make()
    turn = make_turn(tier=Tier(chain=["cloud"], usd_per_day=0), tier_name="grunt")
    assert "the tier 'grunt'" in refusal(governor, turn)
    held(governor)


async def test_whose_ceilings_they_are(make: Make) -> None:
    """A player's ceiling holds for that player in that game, a session's for that session."""
    governor = make(usd_per_player_day=1.5, usd_per_session=2.5)
    governor.settle(held(governor), 0, 1_000_000)
    assert "the player 'ada'" in refusal(governor)
    held(governor, make_turn(game="other"))
    held(governor, make_turn(player=None))
    for player in ("a", "b"):
        governor.settle(held(governor, make_turn(player=player, session="s1")), 0, 1_000_000)
    assert "for the session" in refusal(governor, make_turn(player="c", session="s1"))
    held(governor, make_turn(player="c", session="s2"))


async def test_what_is_held_comes_back(make: Make) -> None:
    """A call that was reserved but never made, or was short, leaves room for the next."""
    governor = make(usd_per_day=1)
    first = held(governor)
    assert "leaves no room" in refusal(governor)
    assert governor.settle(first, 0, 0) == 0.0
    governor.settle(held(governor), 0, 10)


async def test_a_new_day(make: Make, clock: Clock) -> None:
    """At midnight UTC the day's sums begin again; those of sessions go on."""
    governor = make(usd_per_day=1.5, usd_per_session=2.5)
    turn = make_turn(session="s1")
    late = held(governor, turn)
    clock.now = 20_001.0 * DAY_S
    governor.settle(late, 0, 1_000_000)
    assert governor.spent() == {}, "what began yesterday counts for yesterday"
    governor.settle(held(governor, turn), 0, 1_000_000)
    assert "a day" in refusal(governor, turn)
    clock.now += DAY_S
    assert "the session" in refusal(governor, turn)
    held(governor)


async def test_the_log_says_it_once(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """One line at 80 %, one when the ceiling is reached, however many turns come."""
    caplog.set_level(logging.INFO, "palaver.spend")
    governor = make(usd_per_day=10)
    for _ in range(11):
        governor.settle(held(governor), 0, 900_000)
    for _ in range(50):
        refusal(governor)
    near, reached = [record.getMessage() for record in caplog.records]
    assert near == "81 % of the ceiling of $10.00 a day is spent ($8.10)"
    assert reached == (
        "the ceiling of $10.00 a day is reached: $9.90 is spent, and another call to that backend "
        "might cost $1.00; turns go on down their chains until 00:00 UTC"
    )


async def test_a_closed_tap_is_not_used_up(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """A ceiling of 0 is told as what it is, and small amounts are written as money."""
    caplog.set_level(logging.INFO, "palaver.spend")
    governor = make(usd_per_day=0)
    for _ in range(5):
        refusal(governor)
    assert caplog.messages == ["the ceiling of $0.00 a day lets nobody ask what costs money"]
    reason = refusal(make(usd_per_player_day=1e-7))
    assert reason.startswith("the ceiling of $0.0000001 a day for the player")


async def test_what_is_only_held_is_not_reached(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """While calls are under way a ceiling may have no room; that is no news."""
    governor = make(usd_per_day=1.5)
    reservation = held(governor)
    refusal(governor)
    governor.settle(reservation, 0, 1)
    held(governor)
    assert not caplog.records


async def test_spending_is_off(make: Make) -> None:
    """No backend that costs money may be asked; others may."""
    governor, turn = make(mode="off"), make_turn()
    assert refusal(governor) == OFF
    assert isinstance(governor.reserve(turn, "free", request_of(turn)), Reservation)


async def test_a_price_that_nobody_knows(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Below a ceiling such a backend is not asked, and the log says once what to do."""
    cloud = configured("cloud", usd_per_m_prompt=None, usd_per_m_completion=None)
    for spend, asked in (({"usd_per_day": 5}, False), ({}, True)):
        settings = Settings.model_validate({"spend": spend})
        governor = Governor(settings, {"cloud": cloud}, clock=clock)
        for _ in range(3):
            turn = make_turn()
            found = governor.reserve(turn, "cloud", request_of(turn))
            assert isinstance(found, Reservation) == asked
    assert len(caplog.records) == 1
    assert "usd_per_m_prompt" in caplog.text


async def test_a_prompt_in_another_script_counts_more(make: Make) -> None:
    """What is not ASCII is taken for a token a character, so the worst case is not too low."""
    governor = make()
    english, russian = held(governor, text="x" * 400), held(governor, text="ж" * 400)
    assert (english.prompt_tokens, russian.prompt_tokens) == (108, 408)


async def test_a_restart_does_not_reset_the_day(make: Make, clock: Clock, tmp_path: Path) -> None:
    """What was spent is in a small file; the next process goes on with it, and the next day not."""
    governor = make(tmp_path, usd_per_day=2)
    await governor.start()
    governor.settle(held(governor), 0, 1_500_000)
    await governor.close()
    await governor.close()
    again = make(tmp_path, usd_per_day=2)
    await again.start()
    assert "a day" in refusal(again)
    assert again.spent() == governor.spent()
    await again.close()
    clock.now += DAY_S
    tomorrow = make(tmp_path, usd_per_day=2)
    await tomorrow.start()
    held(tomorrow)
    await tomorrow.close()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"day": "today", "sums": {}}', '{"day": "2024-10-04", "sums": 3}']
)
async def test_a_broken_file_stops_nothing(
    make: Make, tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named in the log, counted from 0, and written anew."""
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    governor = make(tmp_path, usd_per_day=2)
    await governor.start()
    governor.settle(held(governor), 0, 1_000)
    await governor.close()
    assert "cannot be read" in caplog.text
    written = read_book(tmp_path)
    assert written is not None
    assert written[1]["all"][""]["spent"] == pytest.approx(0.001)
    assert os.listdir(tmp_path) == [FILE], "what was written beside it was moved"


async def settled(condition: Callable[..., bool]) -> None:
    """Wait until the book has written something."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for is a file
            await asyncio.sleep(0.005)


async def test_a_second_writes_what_happened_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many players the day has seen, only what has changed is written and read again."""
    monkeypatch.setattr("palaver.spend.book.WRITE_S", 0.0)
    sums, file = Sums(), tmp_path / FILE
    sums.begin(20_000)
    book = Book(tmp_path, sums)
    await book.start()
    for number in range(20 * SLICE):
        sums.get("player", f"default/p{number}").spent = 1.0
    one = sums.get("player", "default/p7")
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while not file.exists():
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    book.changed([one])
    await settled(file.exists)
    await ticking
    assert ticks >= 20, "others have their turn after each slice"
    before = file.stat()
    one.spent = 2.0
    book.changed([one, one])
    await settled(lambda: file.stat().st_size != before.st_size)
    assert file.stat().st_size - before.st_size < 100
    with file.open("a") as torn:
        torn.write('["player", "default/p7", 9')
    known = read_book(tmp_path)
    assert known is not None
    assert len(known[1]["player"]) == 20 * SLICE
    assert known[1]["player"]["default/p7"] == {"spent": 2.0, "unpushed": 0.0}
    await book.close()


async def test_the_book_is_written_anew_before_it_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One player who talks all day does not fill the disk, and a new day begins a new file."""
    monkeypatch.setattr("palaver.spend.book.WRITE_S", 0.0)
    monkeypatch.setattr("palaver.spend.book.MAX_MORE", 3)
    sums, file = Sums(), tmp_path / FILE
    sums.begin(20_000)
    book = Book(tmp_path, sums)
    await book.start()
    for number in range(1, 30):
        sums.get("all").spent = float(number)
        book.changed([sums.get("all")])
        text = f'"", {number}.0'
        await settled(lambda text=text: file.exists() and text in file.read_text())
        assert len(file.read_text().splitlines()) <= 1 + 2 + 3
    sums.begin(20_001)
    sums.get("all").spent = 0.5
    book.changed([sums.get("all")])
    await book.close()
    known = read_book(tmp_path)
    assert known is not None
    assert str(known[0]) == "2024-10-05"
    assert known[1] == {"all": {"": {"spent": 0.5, "unpushed": 0.0}}}


async def test_a_folder_that_cannot_be_written(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Turns go on, and the log says once what is lost."""
    governor = make(tmp_path / "gone", usd_per_day=2)
    await governor.start()
    governor.settle(held(governor), 0, 1_000)
    await governor.close()
    assert caplog.text.count("cannot be written") == 1


async def test_thinking_counts(clock: Clock) -> None:
    """Tokens that a model may think before it speaks are part of the worst case."""

    class Thinks(BackendSettings):
        thinking_tokens: int | None = 2_000

    cloud = configured("cloud")
    cloud.backend.settings = Thinks(type="paid", usd_per_m_prompt=1, usd_per_m_completion=1)
    governor = Governor(Settings(), {"cloud": cloud}, clock=clock)
    assert held(governor, max_tokens=100).max_tokens == 2_100
