"""Watching: a saved file is live on the next turn, a broken one is reported once."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import watchfiles

from palaver.world import watch
from palaver.world.loader import load_world
from palaver.world.watch import WorldStore
from palaver.world.world import World

PERSONA = "---\nname: Vale\nlast_words: Go.\n---\n{% extends 'npc.j2' %}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small world, and a plugin's templates beside it."""
    folder = tmp_path / "hollow"
    (folder / "personas").mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "personas" / "vale.md").write_text(PERSONA)
    (tmp_path / "plugin").mkdir()
    (tmp_path / "plugin" / "npc.j2").write_text("{% block identity %}I.{% endblock %}")
    return folder


def make_store(folder: Path, on_change: Callable[[World], None] | None = None) -> WorldStore:
    """Load the world into a store."""
    templates = [folder.parent / "plugin"]
    world = load_world(folder, templates, trusted=True, name="named")
    return WorldStore(world, templates, on_change=on_change)


class Watched:
    """A store that is being watched, and the snapshots it made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.worlds: asyncio.Queue[World] = asyncio.Queue()
        self.store = make_store(folder, self.worlds.put_nowait)

    async def until(self, holds: Callable[[World], bool]) -> World:
        """Wait for a snapshot of which this holds."""
        async with asyncio.timeout(20):
            while True:
                world = await self.worlds.get()
                if holds(world):
                    return world


@pytest.fixture
async def watched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    """Watch the world; files saved before the watch has begun are seen a little later."""
    monkeypatch.setattr(watch, "LOOK_MS", 100)
    watched = Watched(folder)
    task = asyncio.create_task(watched.store.watch())
    yield watched
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_saved_file_is_live(watched: Watched) -> None:
    """A persona that is written, or put in place by renaming, is in the next snapshot."""
    old = watched.store.current
    file = watched.folder / "personas" / "vale.md"
    file.write_text(PERSONA.replace("Vale", "Valeria"))
    world = await watched.until(lambda world: world.personas["vale"].front.name == "Valeria")
    assert world is watched.store.current
    assert (world.name, world.trusted) == ("named", True)
    assert old.personas["vale"].front.name == "Vale"
    beside = watched.folder / "personas" / "vale.md~"
    beside.write_text(PERSONA.replace("Vale", "Valentin"))
    os.replace(beside, file)
    await watched.until(lambda world: world.personas["vale"].front.name == "Valentin")


async def test_new_folders_and_files(watched: Watched) -> None:
    """A file in a folder that was not there before is seen, and so is one that goes."""
    (watched.folder / "lines").mkdir()
    file = watched.folder / "lines" / "vale.csv"
    file.write_text("id,text,intent\na,Hi.,any\n")
    await watched.until(lambda world: "vale" in world.lines)
    file.unlink()
    await watched.until(lambda world: "vale" not in world.lines)


async def test_templates_of_plugins_are_watched(watched: Watched) -> None:
    """A base template that changes makes new personas."""
    (watched.folder.parent / "plugin" / "npc.j2").write_text("{% block other %}You.{% endblock %}")
    world = await watched.until(lambda world: not world.problems)
    assert list(world.personas["vale"].template.render({})) == [("other", "You.")]


async def test_broken_and_mended(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    """A broken file is logged once; the last good version serves until it is mended."""
    caplog.set_level(logging.INFO, "palaver.world")
    file = watched.folder / "personas" / "vale.md"
    file.write_text(PERSONA + "{% block %}")
    world = await watched.until(lambda world: bool(world.problems))
    assert world.personas["vale"].front.name == "Vale"
    (watched.folder / "personas" / "other.md").write_text(PERSONA)
    await watched.until(lambda world: "other" in world.personas)
    assert caplog.text.count("vale.md:6") == 1
    assert "the last good version serves on" in caplog.text
    file.write_text(PERSONA)
    await watched.until(lambda world: not world.problems)
    assert "vale.md is live again" in caplog.text


async def test_without_watches(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no watches left, files are looked at instead."""
    monkeypatch.setattr(watch, "LOOK_MS", 100)
    real = watchfiles.awatch
    asked: list[bool | None] = []

    def awatch(*paths: Path, **options: object) -> object:
        asked.append(bool(options["force_polling"]))
        if not options["force_polling"]:
            raise OSError("no space left on device")
        return real(*paths, **options)  # type: ignore[arg-type]  # passed on as it is

    monkeypatch.setattr(watchfiles, "awatch", awatch)
    watched = Watched(folder)
    task = asyncio.create_task(watched.store.watch())
    (folder / "personas" / "other.md").write_text(PERSONA)
    await watched.until(lambda world: "other" in world.personas)
    assert asked == [False, True]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_only_what_is_read_concerns(folder: Path) -> None:
    """What the server itself writes causes no reload."""
    store = make_store(folder)
    change = watchfiles.Change.modified

    def concerns(name: str) -> bool:
        return store._concerns(change, str(folder / name))

    assert concerns("personas/vale.md")
    assert concerns("templates/parts/x.j2")
    assert concerns("lines")
    assert store._concerns(change, str(folder.parent / "plugin" / "npc.j2"))
    assert not concerns("data/memory.sqlite3-wal")
    assert not concerns("personas/vale.md~")
    assert not concerns("adapters/vale-1/adapter_model.safetensors")
    assert not concerns("palaver.toml")
    assert not store._concerns(change, str(folder))
    assert not store._concerns(change, str(folder.parent / "plugin" / "x.py"))


def test_a_folder_that_goes(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where the whole folder is gone, the world stays as it was, and that is logged once."""
    store = make_store(folder)
    world = store.current
    folder.rename(folder.parent / "moved")
    assert store.reload() is world
    assert store.reload() is world
    assert store.current is world
    assert len(caplog.records) == 1


def test_problems_at_the_start(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is wrong from the beginning is logged when the store is made; findings are warnings."""
    (folder / "personas" / "odd.md").write_text("---\n")
    (folder / "personas" / "vale.md").write_text(PERSONA + "Lost text.")
    make_store(folder)
    levels = {record.levelname: record.getMessage() for record in caplog.records}
    assert "odd.md:1" in levels["ERROR"]
    assert "vale.md:6: this text is in no block" in levels["WARNING"]
