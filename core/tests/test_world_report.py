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
