"""Stores: the one in the process, those of plugins, and what the cache does with a bad one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from palaver.cli.checking import find_problems
from palaver.errors import ConfigError
from palaver.startup import prepare
from palaver.store import MemoryStore
from palaver.testing.scripted import ScriptedBackend, scripted_type
from palaver.testing.server import running_server, write_world
from palaver.world.trust import TrustStore

PLUGIN = """
import asyncio

from palaver import hookimpl
from palaver.errors import StoreError
from palaver.store import MemoryStore, StoreSettings, StoreType


class Settings(StoreSettings):
    place: str = "here"
    mode: str = "well"


class Shared(MemoryStore):
    shared = True

    def __init__(self, settings):
        super().__init__()
        self.mode = settings.mode
        self.asked = 0
        if self.mode == "broken":
            raise RuntimeError("no store today")

    async def start(self):
        if self.mode == "unstartable":
            raise OSError("nobody there")

    async def get(self, key):
        self.asked += 1
        if self.mode == "hangs":
            await asyncio.Event().wait()
        if self.mode == "away":
            raise StoreError("away")
        if self.mode == "buggy":
            return 1 / 0
        if self.mode == "garbage":
            return b"{"
        return await super().get(key)


@hookimpl
def palaver_register_stores(register):
    register(StoreType("shared", Settings, Shared, addresses=frozenset({"place"})))
"""


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A world whose plugin brings a store."""
    folder = write_world(tmp_path / "world")
    (folder / "plugins").mkdir()
    (folder / "plugins" / "sharing.py").write_text(PLUGIN, encoding="utf-8")
    return folder


async def prepared(world: Path, **overrides: Any) -> Any:
    """The parts of a gateway, with these settings of the store."""
    trust = TrustStore(world.parent / "trusted.json")
    trust.trust(world)
    return await prepare(
        world,
        overrides={f"store.{key}": value for key, value in overrides.items()},
        environ={"PALAVER_PLUGINS": ""},
        backend_types=[scripted_type([ScriptedBackend("local", "Yes.")])],
        trust=trust,
    )


async def test_the_store_of_the_process_forgets() -> None:
    """Values and sums go when their time is over, when deleted, and when there is no room."""
    store = MemoryStore(keys=2)
    await store.start()
    await store.put("a", b"1", 60)
    await store.put("b", b"2", 0)
    assert await store.get("a") == b"1"
    assert await store.get("b") is None
    assert await store.add("s", 1.5, 60) == 1.5
    assert await store.add("s", 1.0, 60) == 2.5
    await store.put("c", b"3", 60)
    assert await store.get("a") is None
    await store.delete(["c", "nothing"])
    assert await store.get("c") is None
    await store.close()
    assert await store.add("s", 0.0, 60) == 0.0


async def test_without_settings_the_store_is_in_the_process(world: Path) -> None:
    """The default shares nothing."""
    parts = await prepared(world)
    assert isinstance(parts.store, MemoryStore)
    assert not parts.store.shared


async def test_a_plugin_brings_a_store(world: Path) -> None:
    """`[store] type` names a store of a plugin, which gets its settings."""
    parts = await prepared(world, type="shared", mode="fine")
    assert (parts.store.shared, parts.store.mode) == (True, "fine")


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        pytest.param({"type": "share"}, "did you mean `shared`", id="type"),
        pytest.param({"type": "zookeeper"}, "palaver-redis", id="no such type"),
        pytest.param({"type": "shared", "mod": "x"}, "mode", id="key"),
        pytest.param({"type": "memory", "url": "x"}, "url", id="key of another type"),
    ],
)
async def test_what_cannot_be_is_explained(
    world: Path, settings: dict[str, str], hint: str
) -> None:
    """A type or key that does not exist is an error that says what there is."""
    with pytest.raises(ConfigError, match=hint):
        await prepared(world, **settings)


async def test_check_finds_it_too(world: Path) -> None:
    """`palaver check` reports a wrong [store] with its line."""
    file = world / "palaver.toml"
    file.write_text(file.read_text("utf-8") + '\n[store]\ntype = "memry"\n', encoding="utf-8")
    _, problems, _ = find_problems(str(world), {})
    found = [one for one in problems if "memry" in one.message]
    assert [one.severity for one in found] == ["error"]
    assert "did you mean `memory`" in found[0].message


@pytest.mark.parametrize(
    ("fact", "hint"),
    [
        pytest.param("utterence", "did you mean `utterance`", id="own"),
        pytest.param("npc.hungr", "did you mean `npc.hunger`", id="declared"),
        pytest.param("player.nam", "did you mean `player.name`", id="the player's"),
        pytest.param("moonphase", "no persona declares", id="unheard of"),
        *(
            pytest.param(known, None, id=known)
            for known in ("hunger", "npc.hunger", "before", "quest", "player.id", "context.moon")
        ),
    ],
)
async def test_check_finds_facts_that_nobody_has(world: Path, fact: str, hint: str | None) -> None:
    """`palaver check` warns of a cache rule's fact that no persona declares."""
    file = world / "palaver.toml"
    rule = f'\n[tiers.grunt.cache]\nfacts = ["intent", "{fact}"]\n'
    file.write_text(file.read_text("utf-8") + rule, encoding="utf-8")
    _, problems, _ = find_problems(str(world), {})
    found = [one for one in problems if "cache.facts" in one.message]
    assert [one.severity for one in found] == (["warning"] if hint else [])
    assert all(hint is not None and hint in one.message and one.line for one in found)


async def test_a_store_that_cannot_be_made_is_noted(world: Path) -> None:
    """A plugin's bug costs the sharing and nothing else."""
    parts = await prepared(world, type="shared", mode="broken")
    assert isinstance(parts.store, MemoryStore)
    assert "no store today" in parts.notes[-1]


async def test_a_strangers_world_names_no_store_elsewhere(world: Path) -> None:
    """What a world that is not trusted says of a store on another machine does not count."""
    file = world / "palaver.toml"
    plain = file.read_text("utf-8")
    for store, left_out in (
        ('type = "other"\nurl = "redis://evil.example.org:6379/0"', True),
        ('type = "other"\nendpoint = "evil.example.org"', True),
        ('type = "other"\npassword_env = "HOME"', True),
        ('type = "other"\npath = "unix:///run/docker.sock"', True),
        ('type = "memory"', False),
    ):
        file.write_text(f"{plain}\n[store]\n{store}\n", encoding="utf-8")
        parts = await prepare(
            world,
            environ={"PALAVER_PLUGINS": ""},
            backend_types=[scripted_type([ScriptedBackend("local", "Yes.")])],
            trust=TrustStore(world.parent / "trusted.json"),
        )
        assert parts.settings.store.type == "memory"
        assert any("[store] is left out" in note for note in parts.notes) == left_out, store


@pytest.mark.parametrize("mode", ["hangs", "away", "buggy", "garbage", "unstartable"])
async def test_a_bad_store_costs_no_turn(
    world: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a store does, turns are answered, and soon it is not asked any more."""
    monkeypatch.setattr("palaver.cache.shared.PAUSE_S", 1e6)
    settings = {
        "store.type": "shared",
        "store.mode": mode,
        "tiers.elite.cache": {"variants": 1},
    }
    backend = ScriptedBackend("local", "Hm.")
    async with running_server(world, backend=backend, overrides=settings) as palaver:
        for number in range(8):
            text = f"Is it number {number} that you like most?"
            async with asyncio.timeout(30):
                done = await palaver.gateway.ask(
                    text, npc="vlad", persona="vampire", player=f"p{number}"
                )
            assert (done.text, done.cached) == ("Hm.", False)
        done = await palaver.gateway.ask(text, npc="vlad", persona="vampire", player="late")
        assert done.cached, "memory knows it"
        store: Any = palaver.gateway.store
        if mode in ("hangs", "away", "buggy"):
            assert store.asked <= 4
