"""The SQLite memory, on real files, with real kills, locks and full disks."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from palaver.errors import ConfigError
from palaver.memory import Exchange, Memory
from palaver.memory.sqlite import SqliteMemory
from palaver.memory.store import pairs_of


def exchange(number: int, npc: str = "willow", counterpart: str | None = "sam") -> Exchange:
    """Make an exchange that its number tells apart."""
    return Exchange(npc, counterpart, f"said {number}", False, f"reply {number}", float(number))


async def recalled(
    memory: Memory,
    npc: str = "willow",
    counterpart: str | None = "sam",
    *,
    save: str = "",
    game: str = "g",
    limit: int = 10,
) -> list[int]:
    """Return the numbers of the exchanges that are recalled."""
    found = await known(memory.recall(game, save, npc, counterpart, limit))
    return [int(item.at) for item in found]


async def known(found: Sequence[Exchange] | Awaitable[Sequence[Exchange]]) -> Sequence[Exchange]:
    """Wait for what was recalled, where it is not there at once."""
    return found if isinstance(found, Sequence) else await found


Opener = Callable[..., contextlib.AbstractAsyncContextManager[SqliteMemory]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that is not there yet, in a folder that is not there either."""
    return tmp_path / "data" / "memory.sqlite3"


@pytest.fixture
def opened(file: Path) -> Opener:
    """A function that opens the file's memory, for `async with`."""

    @contextlib.asynccontextmanager
    async def make(
        path: Path | None = file, *, keep: int = 1_000, **more: float
    ) -> AsyncIterator[SqliteMemory]:
        memory = SqliteMemory(path, keep=keep, **more)  # type: ignore[arg-type]  # numbers only
        await memory.start()
        try:
            yield memory
        finally:
            await memory.close()

    return make


@pytest.fixture(params=["file", "process"])
async def memory(
    request: pytest.FixtureRequest, opened: Opener, file: Path
) -> AsyncIterator[SqliteMemory]:
    """A memory that is open, once in a file and once in the process."""
    async with opened(file if request.param == "file" else None) as memory:
        yield memory


# What is remembered


async def test_recall_order(memory: SqliteMemory) -> None:
    """The last exchanges of two come back oldest first, at most as many as asked for."""
    for number in range(5):
        memory.remember("g", "", exchange(number))
    assert await recalled(memory, limit=3) == [2, 3, 4]
    assert await recalled(memory, limit=0) == []
    (first, *_) = await known(memory.recall("g", "", "willow", "sam", 5))
    assert first == exchange(0)


async def test_recall_sees_pending_writes(memory: SqliteMemory) -> None:
    """A recall sees what was remembered before it, while it waits to be written, cached or not."""
    for number in range(2_000):
        memory.remember("g", "", exchange(number, counterpart=f"p{number % 100}"))
        if number == 1_000:
            assert await recalled(memory, counterpart="p7", limit=2) == [907 - 100, 907]
    for player in range(100):
        got = await recalled(memory, counterpart=f"p{player}", limit=2)
        assert got == [1_800 + player, 1_900 + player]


async def test_remember_while_loading(memory: SqliteMemory) -> None:
    """What is remembered while a recall is under way is in the next one, once and in order."""
    memory.remember("g", "", exchange(1))
    loads = [asyncio.create_task(recalled(memory)) for _ in range(3)]
    await asyncio.sleep(0)
    memory.remember("g", "", exchange(2))
    assert [await load for load in loads] == [[1], [1], [1]]
    assert await recalled(memory) == [1, 2]


async def test_cancelled_recall(memory: SqliteMemory) -> None:
    """A recall that is cancelled leaves the next one whole."""
    memory.remember("g", "", exchange(1))
    load = asyncio.create_task(recalled(memory))
    await asyncio.sleep(0)
    load.cancel()
    memory.remember("g", "", exchange(2))
    await memory.flush()
    assert await recalled(memory) == [1, 2]


async def test_pairs_are_apart(memory: SqliteMemory) -> None:
    """Games, saves, NPCs and counterparts do not mix, and a cue has no counterpart."""
    memory.remember("g", "", exchange(1))
    memory.remember("g", "", exchange(2, counterpart="kim"))
    memory.remember("g", "", exchange(3, npc="alchemist"))
    memory.remember("g", "s", exchange(4))
    memory.remember("h", "", exchange(5))
    memory.remember("g", "", exchange(6, counterpart=None))
    assert await recalled(memory) == [1]
    assert await recalled(memory, counterpart="kim") == [2]
    assert await recalled(memory, "alchemist") == [3]
    assert await recalled(memory, save="s") == [4]
    assert await recalled(memory, game="h") == [5]
    assert await recalled(memory, counterpart=None) == [1, 2, 6]


async def test_audience(memory: SqliteMemory) -> None:
    """Who stood by recalls it with each speaker, and a speaker with whoever stood by."""
    memory.remember("g", "", exchange(1), ["raven", "kim"])
    for npc, counterpart in (
        ("raven", "sam"),
        ("raven", "willow"),
        ("raven", None),
        ("willow", "kim"),
        ("willow", "raven"),
    ):
        assert await recalled(memory, npc, counterpart) == [1], (npc, counterpart)
    assert await recalled(memory, "raven", "kim") == []


async def test_npcs_among_themselves(memory: SqliteMemory) -> None:
    """Of two NPCs in talk, both recall it, whoever began."""
    memory.remember("g", "", exchange(1, npc="a", counterpart="b"))
    memory.remember("g", "", exchange(2, npc="b", counterpart="a"))
    assert await recalled(memory, "a", "b") == [1, 2]
    assert await recalled(memory, "b", "a") == [1, 2]


def test_pairs_without_doubles() -> None:
    """No pair comes twice, even where the audience names the speakers or one talks to itself."""
    pairs = pairs_of(exchange(1), ["sam", "willow", "raven", "raven"])
    assert sorted(pairs) == [
        ("", "raven"),
        ("", "sam"),
        ("", "willow"),
        ("raven", "sam"),
        ("raven", "willow"),
        ("sam", "willow"),
    ]
    assert ("a", "a") in pairs_of(exchange(1, "a", "a"), [])


async def test_deeper_than_the_cache(memory: SqliteMemory) -> None:
    """More than the cache holds is read again."""
    for number in range(60):
        memory.remember("g", "", exchange(number))
    assert await recalled(memory, limit=5) == list(range(55, 60))
    memory.remember("g", "", exchange(60))
    assert await recalled(memory, limit=50) == list(range(11, 61))
    assert await recalled(memory, limit=50) == list(range(11, 61))


async def test_cache_is_bounded(opened: Opener) -> None:
    """A pair that fell out of the cache is read from the file, with what came meanwhile."""
    async with opened(cache_pairs=3) as memory:
        for player in "abcdef":
            memory.remember("g", "", exchange(1, counterpart=player))
            assert await recalled(memory, counterpart=player) == [1]
        for player in "abcdef":
            memory.remember("g", "", exchange(2, counterpart=player))
        for player in "abcdef":
            assert await recalled(memory, counterpart=player) == [1, 2]
        assert len(memory._cache) == 3


async def test_odd_text(memory: SqliteMemory) -> None:
    """Any text is kept: emoji, NUL, and half a surrogate pair as a question mark."""
    memory.remember("g", "", Exchange("n", "p", "🧛\0ü", False, "half \ud83e", 1.0, "Ä", "Ö"))
    memory.remember("g", "", exchange(2, npc="bad \ud83e id"))
    memory.remember("g", "", exchange(3))
    await memory.flush()
    memory._cache.clear()
    (kept,) = await known(memory.recall("g", "", "n", "p", 5))
    assert (kept.said, kept.reply, kept.speaker_name) == ("🧛\0ü", "half ?", "Ä")
    assert await recalled(memory) == [3]


# Saves


async def test_mark_forks(memory: SqliteMemory) -> None:
    """A new save remembers what was, and from there on the two know nothing of each other."""
    memory.remember("g", "", exchange(1))
    await memory.mark("g", "", "s1")
    memory.remember("g", "s1", exchange(2))
    memory.remember("g", "", exchange(3))
    await memory.mark("g", "s1", "s2")
    memory.remember("g", "s2", exchange(4))
    for _ in range(2):
        assert await recalled(memory) == [1, 3]
        assert await recalled(memory, save="s1") == [1, 2]
        assert await recalled(memory, save="s2") == [1, 2, 4]
        assert await recalled(memory, save="s2", limit=2) == [2, 4]
        memory._cache.clear()
    await memory.mark("g", "s1", "s1")
    assert await recalled(memory, save="s1") == [1, 2]


async def test_mark_replaces(memory: SqliteMemory) -> None:
    """Saving over a slot forgets what only the slot knew, cached or not."""
    memory.remember("g", "", exchange(1))
    await memory.mark("g", "", "slot")
    memory.remember("g", "slot", exchange(2))
    assert await recalled(memory, save="slot") == [1, 2]
    memory.remember("g", "", exchange(3))
    await memory.mark("g", "", "slot")
    for _ in range(2):
        assert await recalled(memory, save="slot") == [1, 3]
        memory._cache.clear()
    await memory.mark("g", "never was", "slot")
    assert await recalled(memory, save="slot") == []


async def test_mark_keeps_branches_few(opened: Opener, file: Path) -> None:
    """A thousand saves over three slots leave a handful of branches, and nothing is forgotten."""
    slots = ["a", "b", "c"]
    async with opened() as memory:
        save, expected = "", []
        for number in range(1_000):
            memory.remember("g", save, exchange(number))
            expected.append(number)
            slot = slots[number % 3]
            await memory.mark("g", save, slot)
            save = slot
        memory._cache.clear()
        assert await recalled(memory, save=save, limit=2_000) == expected
        assert await recalled(memory, save="b", limit=2_000) == expected[:-1]
        assert await recalled(memory, save="", limit=2_000) == [0]
    with contextlib.closing(sqlite3.connect(file)) as database:
        assert database.execute("SELECT count(*) FROM branches").fetchone()[0] <= 8
        assert database.execute("SELECT count(*) FROM exchanges").fetchone()[0] == 1_000


async def test_saves_against_a_model(opened: Opener) -> None:
    """Random play, saves and loads recall the same as a plain list for each save."""
    import random

    dice = random.Random(7)
    names = ["", "a", "b", "c", "d"]
    expected: dict[str, list[int]] = {}
    async with opened() as memory:
        save = ""
        for number in range(1_500):
            match dice.randrange(6):
                case 0:
                    new = dice.choice(names)
                    await memory.mark("g", save, new)
                    if new != save:
                        expected[new] = expected.get(save, []).copy()
                    save = new
                case 1:
                    save = dice.choice(names)
                case 2:
                    wanted = dice.choice(names)
                    limit = dice.choice([1, 7, 40])
                    assert (
                        await recalled(memory, save=wanted, limit=limit)
                        == expected.get(wanted, [])[-limit:]
                    )
                case _:
                    memory.remember("g", save, exchange(number))
                    expected.setdefault(save, []).append(number)
            if number % 100 == 0:
                memory._cache.clear()
        memory._cache.clear()
        for name in names:
            assert await recalled(memory, save=name, limit=5_000) == expected.get(name, [])


async def test_prune(opened: Opener, file: Path) -> None:
    """Only the last `keep` of a pair stay in the file, but what a fork recalls stays too."""
    async with opened(keep=10) as memory:
        for number in range(100):
            memory.remember("g", "", exchange(number))
        memory.remember("g", "", exchange(1, counterpart="kim"))
        await memory.flush()
        memory._cache.clear()
        assert await recalled(memory, limit=100) in (list(range(90, 100)), list(range(89, 100)))
        assert await recalled(memory, counterpart="kim") == [1]
        await memory.mark("g", "", "fork")
        for number in range(100, 200):
            memory.remember("g", "", exchange(number))
        await memory.flush()
        memory._cache.clear()
        assert await recalled(memory, save="fork", limit=10) == list(range(90, 100))
        assert await recalled(memory, limit=10) == list(range(190, 200))
    with contextlib.closing(sqlite3.connect(file)) as database:
        # 10 before the fork and 10 after it, a tenth more of each, and one of kim's.
        assert database.execute("SELECT count(*) FROM exchanges").fetchone()[0] <= 23


# The file


async def test_survives_restart(opened: Opener, file: Path) -> None:
    """What was remembered before an orderly end is there after the next start."""
    async with opened() as memory:
        memory.remember("g", "", exchange(1))
        await memory.mark("g", "", "s")
        memory.remember("g", "s", exchange(2))
    async with opened() as memory:
        assert await recalled(memory, save="s") == [1, 2]
    if sys.platform != "win32":
        assert mode(file) == 0o600


def mode(file: Path) -> int:
    """Return who may read and write a file."""
    return stat.S_IMODE(file.stat().st_mode)


WRITER = """
import asyncio, sys
from pathlib import Path
from palaver.memory import Exchange
from palaver.memory.sqlite import SqliteMemory

async def main():
    memory = SqliteMemory(Path(sys.argv[1]), keep=100_000)
    await memory.start()
    # Has an end, so that three of them stay within `keep` however late each is killed.
    for number in range(30_000):
        memory.remember("g", "", Exchange("willow", "sam", "hi", False, "x" * 200, float(number)))
        if number % 50 == 0:
            await memory.flush()
            print(number, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def kill_a_writer(file: Path) -> int:
    """Kill a process that writes, and return what it knew to be written."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(file)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said = line
            if int(line) >= 1_000:
                break
        process.kill()
        # It wrote on until it was killed, and who waits for a processor kills it late.
        said += process.communicate()[0]
    return int(said.rpartition("\n")[0].split()[-1])


async def test_survives_kill(opened: Opener, file: Path) -> None:
    """A process that is killed in the middle of writing loses nothing that was written."""
    before: list[int] = []
    for _ in range(3):
        written = kill_a_writer(file)
        async with opened(keep=100_000) as memory:
            got = await recalled(memory, limit=100_000)
        assert written >= 1_000
        assert got == before + list(range(len(got) - len(before)))
        assert got[-1] >= written
        before = got


async def test_two_processes(opened: Opener, file: Path) -> None:
    """Two memories on one file wait for each other and lose nothing."""
    async with opened() as one, opened() as two:
        for number in range(300):
            one.remember("g", "", exchange(number))
            two.remember("h", "", exchange(number))
        await one.flush()
        await two.flush()
        assert await recalled(two, game="g", limit=1_000) == list(range(300))
        assert await recalled(one, game="h", limit=1_000) == list(range(300))


def content_of(file: Path) -> bytes:
    """Return what is in a file."""
    return file.read_bytes()


def harm(file: Path, damage: str) -> bytes:
    """Spoil a file, and return what is in it now."""
    content = bytearray(file.read_bytes())
    if damage == "header":
        content[:16] = b"\0" * 16
    elif damage == "middle":
        content[4096 * 2 : 4096 * 5] = b"\xff" * 4096 * 3
    else:
        content = bytearray(b"this is not a database at all\n" * 1_000)
    file.write_bytes(content)
    return bytes(content)


@pytest.mark.parametrize("size", [40_000, 300_000], ids=["tables", "pages"])
@pytest.mark.parametrize("damage", ["header", "middle", "garbage"])
async def test_corrupt(opened: Opener, file: Path, damage: str, size: int) -> None:
    """A file that is no database any more is an error that says what to do, and stays as it is."""
    async with opened() as memory:
        for number in range(size // 400):
            memory.remember("g", "", exchange(number))
    content = harm(file, damage)
    with pytest.raises(ConfigError, match="move it away") as caught:
        async with opened():
            pass
    assert str(file) in str(caught.value)
    assert content_of(file) == content
    assert caught.value.key == "memory.path"


@pytest.mark.parametrize(
    ("statement", "advice"),
    [
        ("CREATE TABLE mine (x)", "another program"),
        ("PRAGMA user_version = 99", "update Palaver"),
    ],
    ids=["foreign", "newer"],
)
async def test_not_for_us(opened: Opener, file: Path, statement: str, advice: str) -> None:
    """Another program's database and a newer Palaver's are left alone, with advice."""
    if "user_version" in statement:
        async with opened():
            pass
    file.parent.mkdir(exist_ok=True)
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute(statement)
    before = content_of(file)
    with pytest.raises(ConfigError, match=advice):
        async with opened():
            pass
    assert content_of(file) == before


async def test_unusable_path(opened: Opener, tmp_path: Path) -> None:
    """A folder in the file's place is an error that names it; the memory then answers nothing."""
    memory = SqliteMemory(tmp_path, keep=5)
    with pytest.raises(ConfigError, match="make it writable"):
        await memory.start()
    memory.remember("g", "", exchange(1))
    assert await recalled(memory) == []
    await memory.flush()
    await memory.close()
    (tmp_path / "plain").write_text("a file")
    with pytest.raises(ConfigError, match="plain"):
        async with opened(tmp_path / "plain" / "memory.sqlite3"):
            pass


async def test_locked(opened: Opener, file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """While the file is locked the memory goes on in the process; later it writes everything."""
    async with opened(busy_s=0.05, retry_s=0.05) as memory:
        memory.remember("g", "", exchange(1))
        await memory.flush()
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for number in (2, 3, 4):
                memory.remember("g", "", exchange(number))
                await memory.flush()
            await memory.mark("g", "", "s")
            memory.remember("g", "s", exchange(5))
            memory._cache.clear()
            assert await recalled(memory, save="s") == [1, 2, 3, 4, 5]
            other.execute("ROLLBACK")
        async with asyncio.timeout(20):
            while "written again" not in caplog.text:
                await memory.flush()
        memory.remember("g", "s", exchange(6))
    assert caplog.text.count("cannot be written") == 1
    async with opened() as memory:
        assert await recalled(memory, save="s") == [1, 2, 3, 4, 5, 6]
        assert await recalled(memory) == [1, 2, 3, 4]


async def test_locked_at_start(
    opened: Opener, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that is locked on start is not fatal, and gets what was remembered at the end."""
    async with opened() as memory:
        memory.remember("g", "", exchange(1))
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        async with opened(busy_s=0.05, retry_s=600) as memory:
            memory.remember("g", "", exchange(2))
            assert await recalled(memory) == [2]
            await memory.flush()
            other.execute("ROLLBACK")
            other.close()
    assert caplog.text.count("cannot be written") == 1
    async with opened() as memory:
        assert await recalled(memory) == [1, 2]


@contextlib.contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size, which SQLite meets as a failing disk."""
    resource = pytest.importorskip("resource", reason="this system has no limit on file sizes")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_full_disk(opened: Opener, caplog: pytest.LogCaptureFixture) -> None:
    """With the disk full everything goes on in the process, and is written when there is room."""
    async with opened(retry_s=600) as memory:
        memory.remember("g", "", exchange(0))
        await memory.flush()
        with full_disk(100_000):
            for number in range(1, 2_000):
                memory.remember("g", "", exchange(number))
                if number % 100 == 0:
                    await memory.flush()
            await memory.flush()
            memory._cache.clear()
            assert await recalled(memory, limit=1_000) == list(range(1_000, 2_000))
    assert caplog.text.count("cannot be written") == 1
    async with opened() as memory:
        assert await recalled(memory, limit=1_000) == list(range(1_000, 2_000))


async def test_full_disk_for_good(opened: Opener, caplog: pytest.LogCaptureFixture) -> None:
    """What could never be written is said at the end, and the file is still sound."""
    async with opened(retry_s=600) as memory:
        memory.remember("g", "", exchange(0))
        await memory.flush()
        with full_disk(50_000):
            for number in range(1, 500):
                memory.remember("g", "", exchange(number))
                await memory.flush()
            await memory.close()
    assert "are lost" in caplog.text
    async with opened() as memory:
        got = await recalled(memory, limit=1_000)
        assert got == list(range(len(got)))


async def test_queue_is_bounded(opened: Opener, caplog: pytest.LogCaptureFixture) -> None:
    """When the disk cannot follow, the oldest waiting exchange is dropped, with a line."""
    async with opened(queue_size=10) as memory:
        with memory._worker._wake:  # holds the thread up, as a slow disk does
            for number in range(30):
                memory.remember("g", "", exchange(number))
        assert await recalled(memory, limit=100) == list(range(20, 30))
    assert "too slow" in caplog.text


async def test_close_twice(opened: Opener, caplog: pytest.LogCaptureFixture) -> None:
    """Closing twice is harmless, and so is whatever comes after."""
    async with opened() as memory:
        memory.remember("g", "", exchange(1))
        await memory.close()
        await memory.close()
        memory.remember("g", "", exchange(2))
        assert await recalled(memory) == []
        await memory.mark("g", "", "s")
        await memory.flush()
    never_started = SqliteMemory(None, keep=1)
    await never_started.close()


async def test_the_usual_recall_is_answered_at_once(opened: Opener) -> None:
    """A pair that was recalled before costs no wait and no thread."""
    async with opened() as memory:
        for number in range(20):
            memory.remember("g", "", exchange(number))
        await recalled(memory)
        found = memory.recall("g", "", "willow", "sam", 6)
        assert isinstance(found, Sequence)
        assert [int(item.at) for item in found] == list(range(14, 20))


async def test_the_save_that_was_played_last_is_known_after_a_restart(opened: Opener) -> None:
    """A mark and a load are kept, for each game; a new game has none."""
    async with opened() as memory:
        assert memory.last_save("g") is None
        memory.remember("g", "main", exchange(1))
        await memory.mark("g", "main", "slot")
        memory.play("other", "older")
        assert memory.last_save("g") == "slot"
    async with opened() as memory:
        assert memory.last_save("g") == "slot"
        assert memory.last_save("other") == "older"
        assert await recalled(memory, save="slot") == [1]


async def test_a_fork_is_made_at_the_call(opened: Opener) -> None:
    """What is remembered while the mark is still being written belongs to where it is put."""
    async with opened() as memory:
        memory.remember("g", "main", exchange(1))
        written = memory.mark("g", "main", "slot")
        memory.remember("g", "slot", exchange(2))
        await written
        assert await recalled(memory, save="slot") == [1, 2]
        assert await recalled(memory, save="main") == [1]


async def test_an_older_file_is_brought_up_to_date(opened: Opener, file: Path) -> None:
    """A file of the first version gets the table it lacks, and keeps what it holds."""
    async with opened() as memory:
        memory.remember("g", "", exchange(1))
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("DROP TABLE games")
        database.execute("PRAGMA user_version = 1")
        database.commit()
    async with opened() as memory:
        memory.play("g", "s")
        assert await recalled(memory) == [1]
    async with opened() as memory:
        assert memory.last_save("g") == "s"
