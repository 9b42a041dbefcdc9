"""Lists of words: a world's own, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

from palaver_moderation.config import ModerationSettings
from palaver_moderation.lists import load_words, read_list
from palaver_moderation.rules import RuleBook

OFF = ModerationSettings(lists=False)


def write(world: Path, name: str, text: str) -> Path:
    """Write a list of a world."""
    folder = world / "moderation"
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_a_world_brings_its_own_lists(tmp_path: Path) -> None:
    """`moderation/CATEGORY.LANG.txt` counts in that language, `except.txt` takes words out."""
    write(tmp_path, "rude.de.txt", "# Notes\nDödel\n\nLümmel*\n")
    write(tmp_path, "rude.txt", "blorp\nsnark\n")
    write(tmp_path, "except.txt", "Snark\n")
    book = RuleBook(OFF, load_words(OFF, tmp_path, trusted=True))
    text = "Dödel, Lümmeleien, Blorp, Snark"
    assert [hit.text for hit in book.of("de-AT").find(text)] == ["Dödel", "Lümmeleien", "Blorp"]
    assert [hit.text for hit in book.of("en").find(text)] == ["Blorp"]


def test_words_may_be_hidden(tmp_path: Path) -> None:
    """After `# rot13` the words are in ROT13."""
    file = write(tmp_path, "rude.txt", "plain\n# rot13\noybec\n")
    assert list(read_list(file)) == ["plain", "blorp"]


def test_what_cannot_be_used_is_told_and_left_out(tmp_path: Path) -> None:
    """A wrong name, a star in the middle, a file that is no text: each is told, the rest counts."""
    write(tmp_path, "Rude Words.txt", "blorp\n")
    write(tmp_path, "rude.txt", "bl*rp\n***\ngood\n")
    write(tmp_path, "bytes.txt", "").write_bytes(b"\xff\xfe\xff")
    words = load_words(OFF, tmp_path)
    assert [one.words for one in words.lists] == [("good",)]
    assert len(words.problems) == 4
    assert any("CATEGORY.LANG.txt" in one for one in words.problems)


def test_there_is_a_bound(tmp_path: Path) -> None:
    """A world with more words than can be looked for loses its own lists, and nobody else's."""
    write(tmp_path, "rude.txt", "\n".join(f"word{number}x" for number in range(20_001)))
    settings = ModerationSettings(words={"rude": ["blorp"]})
    words = load_words(settings, tmp_path)
    assert [one.words for one in words.lists if one.category == "rude"] == [("blorp",)]
    assert len(words.lists) > 1  # those that come with it
    assert "20,001" in words.problems[0]


def test_too_many_words_in_the_settings_are_left_out() -> None:
    """The operator's words have the same bound, and the lists that come with it stay."""
    settings = ModerationSettings(words={"rude": [f"word{number}x" for number in range(20_001)]})
    words = load_words(settings, None)
    assert {one.category for one in words.lists} == {"hate", "harassment", "minors", "self_harm"}
    assert "[plugins.moderation.words]" in words.problems[0]


def test_a_world_has_so_many_lists_and_no_more(tmp_path: Path) -> None:
    """A folder with more files than anybody needs is read in part."""
    for number in range(201):
        write(tmp_path, f"rude.{'abcdefghij'[number // 26]}{chr(97 + number % 26)}.txt", "blorp\n")
    words = load_words(OFF, tmp_path)
    assert len(words.lists) == 200
    assert "only the first 200" in words.problems[0]


def test_a_stranger_says_what_is_meant_but_not_what_is_never_meant(tmp_path: Path) -> None:
    """The words of an untrusted world count; its exceptions do not, and that is told."""
    write(tmp_path, "except.txt", "kill yourself\nblorp\n")
    write(tmp_path, "rude.txt", "snark\n")
    settings = ModerationSettings(words={"rude": ["blorp"]})
    words = load_words(settings, tmp_path)
    hits = RuleBook(settings, words).of("en").find("Blorp, snark, kill yourself!")
    assert [hit.text for hit in hits] == ["Blorp", "snark", "kill yourself"]
    assert "palaver trust" in words.problems[0]
    words = load_words(settings, tmp_path, trusted=True)
    assert words.problems == ()
    assert [hit.text for hit in RuleBook(settings, words).of("en").find("Blorp, snark!")] == [
        "snark"
    ]


def test_a_large_list_compiles(tmp_path: Path) -> None:
    """A list of thousands of words is used."""
    names = ["".join(chr(97 + (n // 26**k) % 26) for k in range(4)) + "q" for n in range(5_000)]
    write(tmp_path, "rude.txt", "\n".join(names))
    book = RuleBook(OFF, load_words(OFF, tmp_path))
    assert [hit.text for hit in book.of("en").find(f"so {names[4_321]} it is")] == [names[4_321]]


def test_the_lists_that_come_with_it_are_in_order() -> None:
    """Every shipped list can be read, and none has a word twice."""
    words = load_words(ModerationSettings(), None)
    assert words.problems == ()
    assert {one.category for one in words.lists} == {"hate", "harassment", "minors", "self_harm"}
    for one in words.lists:
        assert len(set(one.words)) == len(one.words)
