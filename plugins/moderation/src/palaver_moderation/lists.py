"""Lists of words: those that come with the plugin, a world's own, and those in the settings."""

from __future__ import annotations

import codecs
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from palaver_moderation.config import ModerationSettings
from palaver_moderation.fold import fold

__all__ = ["EXCEPT", "FOLDER", "WordList", "Words", "load_words", "read_list"]

log = logging.getLogger("palaver.moderation")

FOLDER = "moderation"
"""Folder of a world with lists of its own."""
EXCEPT = "except"
"""Name of the list of words that are never meant."""
SHIPPED = Path(__file__).parent / "words"
MAX_LIST_BYTES = 1_000_000
MAX_WORDS = 20_000
"""Most words of all lists together."""
MAX_FILES = 200
"""Most lists of a world."""
MAX_WORD_CHARS = 100
_NAME = re.compile(r"(?P<category>[a-z][a-z0-9_]{0,31})(?:\.(?P<lang>[a-z]{2,8}))?\.txt")
_HIDDEN = "# rot13"


@dataclass(frozen=True, slots=True)
class WordList:
    """The words of one category and language.

    Attributes:
        category: What they are.
        lang: The language they are of, or None for all.
        words: The words, folded.
    """

    category: str
    lang: str | None
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Words:
    """All lists of a world.

    Attributes:
        lists: The lists.
        excepted: What is never meant, folded.
        problems: What could not be read, in words.
    """

    lists: tuple[WordList, ...] = ()
    excepted: frozenset[str] = frozenset()
    problems: tuple[str, ...] = field(default=())


def load_words(settings: ModerationSettings, world: Path | None, *, trusted: bool = False) -> Words:
    """Read every list; what cannot be read is told and left out.

    Args:
        settings: The settings.
        world: The world's folder, or None for no world.
        trusted: Whether the world is trusted: only then it may say what is never meant. Words to
            look for may come from any world; too many of them cost it its own lists only.
    """
    problems: list[str] = []
    excepted = {_clean(word) for word in settings.except_words}
    lists = [
        _checked(category, None, words, f"words.{category}", problems)
        for category, words in settings.words.items()
    ]
    if _count(lists) > MAX_WORDS:
        problems.append(f"[plugins.moderation.words] is left out: {_too_many(lists)}")
        lists = []
    if settings.lists:
        lists += _read(SHIPPED, excepted, problems)
    if world is not None:
        never_meant: set[str] = set()
        own = _read(world / FOLDER, never_meant, problems)
        if _count([*lists, *own]) > MAX_WORDS:
            problems.append(f"the lists in {world / FOLDER} are left out: {_too_many(own)}")
            own = []
        lists += own
        if trusted:
            excepted |= never_meant
        elif never_meant:
            problems.append(
                f"{world / FOLDER / EXCEPT}.txt is left out, as the world is not trusted; look at "
                f"it, then run `palaver trust {world.name}`"
            )
    return Words(tuple(lists), frozenset(excepted), tuple(problems))


def _read(folder: Path, excepted: set[str], problems: list[str]) -> list[WordList]:
    """Read the lists of a folder.

    Args:
        folder: The folder, which need not be there.
        excepted: Takes what is never meant.
        problems: Takes what could not be read, in words.
    """
    lists: list[WordList] = []
    files = _files(folder)
    if len(files) > MAX_FILES:
        problems.append(f"{folder}: only the first {MAX_FILES} lists are read; join some of them")
    for file in files[:MAX_FILES]:
        name = _NAME.fullmatch(file.name)
        if name is None:
            problems.append(f"{file}: call it CATEGORY.txt or CATEGORY.LANG.txt, in lower case")
            continue
        try:
            words = list(read_list(file))
        except (OSError, ValueError) as err:
            problems.append(f"{file}: cannot be read: {err}")
            continue
        if name["category"] == EXCEPT:
            excepted.update(_clean(word) for word in words)
        else:
            lists.append(_checked(name["category"], name["lang"], words, str(file), problems))
    return lists


def _count(lists: Iterable[WordList]) -> int:
    return sum(len(one.words) for one in lists)


def _too_many(lists: Iterable[WordList]) -> str:
    return f"its {_count(lists):,} words are too many; all lists may have {MAX_WORDS:,} together"


def read_list(file: Path) -> Iterator[str]:
    """Read a list: one word or phrase on a line, `#` for notes, `# rot13` for hidden words.

    Raises:
        ValueError: It is too large, or not UTF-8.
    """
    if file.stat().st_size > MAX_LIST_BYTES:
        raise ValueError(f"it has more than {MAX_LIST_BYTES:,} bytes")
    hidden = False
    for line in file.read_text("utf-8-sig").splitlines():
        line = line.strip()
        if line.startswith("#"):
            hidden = hidden or line == _HIDDEN
        elif line:
            yield codecs.decode(line, "rot13") if hidden else line


def _files(folder: Path) -> list[Path]:
    # Only real files: a device or a pipe of that name would be read for ever.
    return sorted(file for file in folder.glob("*.txt") if file.is_file())


def _checked(
    category: str, lang: str | None, words: Iterable[str], where: str, problems: list[str]
) -> WordList:
    kept = []
    for word in words:
        clean = _clean(word)
        if not any(map(str.isalnum, clean)) or "*" in clean[:-1]:
            problems.append(f"{where}: {word!r} is left out; `*` stands only at the end of a word")
        elif len(clean) > MAX_WORD_CHARS:
            problems.append(f"{where}: a word of more than {MAX_WORD_CHARS} characters is left out")
        else:
            kept.append(clean)
    return WordList(category, lang, tuple(kept))


def _clean(word: str) -> str:
    return " ".join(fold(word).split())
