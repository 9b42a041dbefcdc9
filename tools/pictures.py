"""Pictures of a terminal for the docs, as SVG."""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

__all__ = ["save"]

FONTS = "ui-monospace, Menlo, Consolas, DejaVu Sans Mono"
THEME = TerminalTheme(
    (24, 24, 32),
    (222, 220, 230),
    [
        (24, 24, 32),
        (240, 113, 120),
        (158, 206, 106),
        (229, 192, 123),
        (122, 162, 247),
        (198, 146, 233),
        (103, 196, 204),
        (222, 220, 230),
    ],
)


def save(text: Text, path: Path, *, title: str, columns: int) -> None:
    """Writes a terminal that shows the text.

    Args:
        text: What it shows.
        path: Where to write the picture.
        title: Title of its window.
        columns: How wide it is.
    """
    console = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True)
    console.print(text)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = console.export_svg(title=title, theme=THEME, unique_id=title.replace(" ", "-"))
    # Rich asks a server of others for its font; whoever looks at the picture need not.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    picture = picture.replace("Fira Code", FONTS)
    # Some viewers drop spaces at the beginning of a line.
    picture = picture.replace("<text class", '<text xml:space="preserve" class')
    path.write_text("\n".join(line.rstrip() for line in picture.splitlines()) + "\n", "utf-8")
