"""What the mod's README lets its reader try first."""

from __future__ import annotations

import re
from pathlib import Path

from palaver.turn.intent import classify
from palaver.world.lines import read_lines

ROOT = Path(__file__).resolve().parents[3]
README = ROOT / "engine_bridges" / "luanti" / "llm_agent" / "README.md"
LINES = ROOT / "prompts" / "src" / "palaver_prompts" / "worlds" / "village" / "lines"


def test_authored_lines_answer_what_the_readme_says() -> None:
    """Without a model too: the character has lines for just that, which need nothing to be true."""
    found = re.search(r'named \("([^"]+)"\)', README.read_text(encoding="utf-8"))
    assert found
    said = " ".join(found[1].split())
    name = said.partition(",")[0]
    lines, errors = read_lines(LINES / f"{name}.csv", folder=LINES.parent)
    assert not errors
    assert classify(said) == "quest"
    always = [one for one in lines if one.intent == "quest" and one.when is None and not one.mood]
    assert len([one for one in always if one.lang == "en"]) >= 3
