"""Collects what the mod says into `locale/template.txt`: `python util/template.py`, anywhere.

Translations (`locale/llm_agent.*.tr`) are put into the same order; what is not translated yet
stands there empty, what is no longer said is dropped.
"""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
HEAD = "# textdomain: llm_agent"
STRING = re.compile(r"\bS\(\s*(?:REASONS\[[^\]]*\] or )?\"((?:[^\"\\]|\\.)*)\"")
# Texts that a variable brings to S().
LISTED = re.compile(r"^\s*(?:busy|gone|unknown) = \"((?:[^\"\\]|\\.)*)\",$", re.MULTILINE)


def key_of(text: str) -> str:
    """A text as a translation file writes it: its signs = and line breaks are escaped."""
    text = text.replace('\\"', '"').replace("\\n", "@n")
    return text.replace("=", "@=")


def said() -> list[str]:
    """Every text that is translated."""
    found: dict[str, None] = {}
    for file in sorted((HERE / "src").rglob("*.lua")):
        source = file.read_text(encoding="utf-8")
        for match in STRING.finditer(source):
            found[key_of(match[1])] = None
        if file.name == "dialogue.lua":
            for match in LISTED.finditer(source):
                found[key_of(match[1])] = None
    return sorted(found)


def read(file: Path) -> dict[str, str]:
    """The translations that a file has."""
    pairs = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            key, _, text = re.sub(r"(?<!@)=", "\n", line, count=1).partition("\n")
            pairs[key] = text
    return pairs


def main() -> None:
    """Write all files."""
    keys = said()
    folder = HERE / "locale"
    lines = [HEAD, *(f"{key}=" for key in keys)]
    (folder / "template.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for file in sorted(folder.glob("llm_agent.*.tr")):
        known = read(file)
        lines = [HEAD, *(f"{key}={known.get(key, '')}" for key in keys)]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
