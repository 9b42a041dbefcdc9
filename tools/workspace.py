"""What the scripts here know about the workspace."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def read_toml(path: Path) -> dict[str, Any]:
    """Returns the content of a TOML file."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def members() -> list[Path]:
    """Returns the folders of the workspace's members, sorted."""
    patterns = read_toml(ROOT / "pyproject.toml")["tool"]["uv"]["workspace"]["members"]
    found = [path.parent for pattern in patterns for path in ROOT.glob(f"{pattern}/pyproject.toml")]
    return sorted(found)
