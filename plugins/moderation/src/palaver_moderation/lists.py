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


def load_words(settings: ModerationSettings, world: Path | None) -> Words:
    """Read every list; what cannot be read is told and left out.

    Args:
        settings: The settings.
        world: The world's folder, or None for no world.
    """
    lists: list[WordList] = []
    excepted = {_clean(word) for word in settings.except_words}
    problems: list[str] = []
    for category, words in settings.words.items():
        lists.append(_checked(category, None, words, f"words.{category}", problems))
    folders = [SHIPPED] if settings.lists else []
    if world is not None:
        folders.append(world / FOLDER)
    for file in _files(folders):
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
    count = sum(len(one.words) for one in lists)
    if count > MAX_WORDS:
        problems.append(f"{count:,} words are more than {MAX_WORDS:,}; the world's are left out")
        shipped = load_words(settings.model_copy(update={"words": {}}), None)
        return Words(shipped.lists, frozenset(excepted), tuple(problems))
    return Words(tuple(lists), frozenset(excepted), tuple(problems))


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


def _files(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        if folder.is_dir():
            # Only real files: a device or a pipe of that name would be read for ever.
            yield from sorted(file for file in folder.glob("*.txt") if file.is_file())


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
