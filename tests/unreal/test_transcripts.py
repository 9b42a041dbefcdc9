"""Plays every transcript of tests/wire to the C++ core."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from unreal_harness.story import Core, Story

from palaver.testing.transcripts import Transcript, load

FOLDER = Path(__file__).resolve().parents[1] / "wire"
TRANSCRIPTS = [load(path) for path in sorted(FOLDER.glob("*.jsonl"))]


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda t: t.name)
async def test_transcript(transcript: Transcript, replay: Path) -> None:
    """The core says what the client of the story says, and understands all that it is told."""
    story = Story(replay)
    try:
        for line in transcript.lines:
            try:
                await story.play(line)
            except AssertionError as error:
                where = f"{transcript.name}.jsonl:{line.number}: {json.dumps(line.value)[:200]}"
                raise AssertionError(f"{where}: {error}") from error
        for core in story.all:
            check(core)
    finally:
        await story.close()


def check(core: Core) -> None:
    """Nothing was repeated, and a turn that has ended has the text that was shown."""
    shown: dict[str, str] = defaultdict(str)
    counted: Counter[tuple[str, Any]] = Counter()
    for event in core.events:
        name, turn = event["event"], event.get("turn")
        if name == "delta":
            shown[event["turn"]] += event["text"]
        elif name in ("accepted", "done"):
            counted[name, turn] += 1
        elif name == "sentence":
            counted[name, (turn, event["index"])] += 1
        elif name == "action":
            counted[name, (turn, event["call"])] += 1
        if name == "done" and event["ending"] != "cancelled":
            assert event["text"] == shown[event["turn"]]
    assert all(times == 1 for times in counted.values()), counted
