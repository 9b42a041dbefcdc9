"""Copies this plugin under a name of your own.

    python plugin_template/new.py NAME [FOLDER]

NAME is lower case, with hyphens between words: `oracle`, `sea-shanty`. FOLDER is made anew, and is
`palaver-NAME` in the working directory if it is not given.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parent
LEFT_BEHIND = shutil.ignore_patterns("new.py", "__pycache__", ".*", "*.egg-info", "dist")


def renamed(text: str, name: str) -> str:
    """Returns `text` with every form of the template's name replaced by `name`'s."""
    words = name.split("-")
    for old, new in (
        ("palaver-example", f"palaver-{name}"),
        ("palaver_example", f"palaver_{'_'.join(words)}"),
        ("example_", f"{'_'.join(words)}_"),
        ("Example", "".join(word.capitalize() for word in words)),
        ("example", name),
    ):
        text = text.replace(old, new)
    return text


def main() -> None:
    """Makes the copy and says what to do next."""
    if not 2 <= len(sys.argv) <= 3 or not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", sys.argv[1]):
        sys.exit((__doc__ or "").strip())
    name = sys.argv[1]
    folder = Path(sys.argv[2] if len(sys.argv) == 3 else f"palaver-{name}")
    if folder.exists():
        sys.exit(f"{folder} exists; give another folder, or remove it")
    shutil.copytree(TEMPLATE, folder, ignore=LEFT_BEHIND)
    # Files before the folders that hold them.
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file() and path.name != "LICENSE":
            path.write_text(renamed(path.read_text(encoding="utf-8"), name), encoding="utf-8")
        path.rename(path.with_name(renamed(path.name, name)))
    print(f"{folder} is yours. Next: cd {folder} && pip install -e . && palaver plugins")


if __name__ == "__main__":
    main()
