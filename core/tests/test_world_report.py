"""What the log says of a world that changes is true."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from palaver.world.loader import load_world
from palaver.world.watch import WorldStore


def test_a_file_that_is_broken_otherwise_is_not_live_again(
    palaver_world: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Only a mended file is live again, and one that was deleted is gone."""
    caplog.set_level(logging.INFO, "palaver.world")
    store = WorldStore(load_world(palaver_world, trusted=True))
    file = palaver_world / "personas" / "vampire.md"
    good = file.read_text(encoding="utf-8")

    def save(text: str) -> str:
        caplog.clear()
        beside = file.with_suffix(".new")
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, file)
        store.reload()
        return caplog.text

    assert "unknown tag" in save(good.replace("{% extends", "{% extend"))
    otherwise = save(good.replace("name:", "mood: 3\nname:", 1))
    assert "`mood`" in otherwise
    assert "live again" not in otherwise
    assert "is live again" in save(good)
    save(good.replace("{% extends", "{% extend"))
    caplog.clear()
    file.unlink()
    store.reload()
    assert "is gone" in caplog.text
    assert "live again" not in caplog.text


def test_saved_lines_and_templates_are_live_too(
    palaver_world: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As a persona is; a broken file is not until it is mended, and a deleted one is gone."""
    caplog.set_level(logging.INFO, "palaver.world")
    store = WorldStore(load_world(palaver_world, trusted=True))
    lines = palaver_world / "lines" / "newcomer.csv"
    template = palaver_world / "templates" / "parts" / "weather.j2"
    for file in (lines, template):
        file.parent.mkdir(parents=True, exist_ok=True)

    def said(file: Path, text: str) -> list[str]:
        caplog.clear()
        file.write_text(text, encoding="utf-8")
        store.reload()
        return [record.getMessage() for record in caplog.records]

    assert said(lines, "id,text,intent\na,Hi.,any\n") == ["lines/newcomer.csv is live"]
    assert said(lines, "id,text,intent\na,Hello.,any\n") == ["lines/newcomer.csv is live"]
    (broken,) = said(lines, "id,text,intent\na,Hello there.,anything\n")
    assert "the last good version serves on" in broken
    (mended,) = said(lines, "id,text,intent\na,Good morning.,any\n")
    assert mended.endswith("newcomer.csv is live again")
    assert said(template, "It rains.") == ["templates/parts/weather.j2 is live"]
    caplog.clear()
    store.reload()
    assert caplog.records == []
    lines.unlink()
    store.reload()
    assert [record.getMessage() for record in caplog.records] == ["lines/newcomer.csv is gone"]
