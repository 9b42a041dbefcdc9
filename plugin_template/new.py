"""Copies this plugin under a name of your own.

    python3 plugin_template/new.py NAME [FOLDER]

NAME is lower case, with hyphens between words: `oracle`, `sea-shanty`. FOLDER is made anew, and is
`palaver-NAME` in the working directory if it is not given.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parent
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LEFT_BEHIND = shutil.ignore_patterns("new.py", "__pycache__", ".*", "*.egg-info", "dist")


FOR_THE_TEMPLATE = re.compile(
    r"<!-- for the template -->.*?<!-- for every copy -->\n+", flags=re.DOTALL
)
"""What the README says to whoever is about to copy it."""


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


def in_hyphens(name: str) -> str:
    """Returns a name as it should have been written: `sea-shanty` for `SeaShanty`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()
    return re.sub(r"[^a-z0-9]+", "-", words).strip("-")


def next_steps(folder: Path) -> str:
    """Returns what to do with a copy, for a shell that is in no environment."""
    # Palaver comes from its repository too: `palaver` on the package index is another project.
    where = shlex.quote(str(folder if Path.cwd() == TEMPLATE.parent else folder.resolve()))
    return f"""{folder} is yours. Next, in the folder of Palaver's repository:

    python3 -m pip --python .venv install -e './core[testing]' -e {where}
    .venv/bin/python -m pytest {where}
    .venv/bin/palaver plugins"""


def main() -> None:
    """Makes the copy and says what to do next."""
    if not 2 <= len(sys.argv) <= 3:
        sys.exit((__doc__ or "").strip())
    name = sys.argv[1]
    if not NAME.fullmatch(name):
        meant = in_hyphens(name)
        if NAME.fullmatch(meant):
            sys.exit(f"{name!r} cannot be a name; write `{meant}`")
        sys.exit((__doc__ or "").strip())
    folder = Path(sys.argv[2] if len(sys.argv) == 3 else f"palaver-{name}")
    if folder.exists():
        sys.exit(f"{folder} exists; give another folder, or remove it")
    shutil.copytree(TEMPLATE, folder, ignore=LEFT_BEHIND)
    # Files before the folders that hold them.
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file() and path.name != "LICENSE":
            text = path.read_text(encoding="utf-8")
            if path.name == "README.md":
                text = FOR_THE_TEMPLATE.sub("", text)
            path.write_text(renamed(text, name), encoding="utf-8")
        path.rename(path.with_name(renamed(path.name, name)))
    print(next_steps(folder))


if __name__ == "__main__":
    main()
