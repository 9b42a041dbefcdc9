"""Authored lines: read from CSV as people write it, with errors that say what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from palaver.errors import LinesError, WorldError
from palaver.world.lines import Line, read_lines

HEAD = "id,text,intent,mood,when,lang\n"


def read(tmp_path: Path, text: str | bytes) -> tuple[list[Line], list[LinesError]]:
    """Write a file of lines and read it."""
    file = tmp_path / "vampire.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_lines(file, folder=tmp_path)


def test_lines(tmp_path: Path) -> None:
    """Cells become a line; empty ones have their defaults; `number` is the line in the file."""
    lines, errors = read(
        tmp_path,
        HEAD
        + 'a,"Well, ""well"".",greeting,amused,player.reputation == "friend",en-GB\n'.replace(
            'player.reputation == "friend"', '"player.reputation == ""friend"""'
        )
        + "\n , , \n"
        + "b,Go.,,,,\n",
    )
    assert errors == []
    first, second = lines
    assert (first.id, first.text, first.intent) == ("a", 'Well, "well".', "greeting")
    assert (first.mood, first.lang, first.number) == ("amused", "en-GB", 2)
    assert first.when is not None
    assert first.when({"player": {"reputation": "friend"}})
    assert not first.when({"player": {}})
    assert second == Line("b", "Go.", "any", "", None, "en", 5)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffid,text,intent\na,Hi.,greeting\n",
        "id,text,intent\r\na,Hi.,greeting\r\n",
        "ID , Text,intent\n a , Hi. ,greeting",
        "intent,id,text\ngreeting,a,Hi.\n",
        "id,text,intent,mood\na,Hi.,greeting\n",
    ],
    ids=["bom", "crlf", "spaces", "order", "short-row"],
)
def test_what_spreadsheets_write(tmp_path: Path, text: str) -> None:
    """A BOM, other line ends, spaces, another order of columns and short rows are all right."""
    lines, errors = read(tmp_path, text)
    assert errors == []
    assert [(line.id, line.text, line.intent, line.lang) for line in lines] == [
        ("a", "Hi.", "greeting", "en")
    ]


def test_text_over_several_lines(tmp_path: Path) -> None:
    """A quoted text may have line breaks; numbers are those of the row's first line."""
    lines, errors = read(tmp_path, HEAD + 'a,"One\ntwo",any,,,\nb,,any,,,\n')
    assert (lines[0].text, lines[0].number) == ("One\ntwo", 2)
    assert [(error.line, error.problem) for error in errors] == [
        (4, "has no text; write what is said")
    ]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("a,Hi.,greting,,,", "there is no intent 'greting'; did you mean `greeting`?"),
        (
            "a,Hi.,zzz,,,",
            "there is no intent 'zzz'; it is one of `any`, `closing`, `farewell`, `filler`",
        ),
        (",Hi.,any,,,", "has no id"),
        ("z,Hi.,any,,,", "the id 'z' is that of line 2, too"),
        ("a,,any,,,", "has no text"),
        (f"a,{'x' * 1001},any,,,", "has 1,001 characters; a line has at most 1,000"),
        ("a,Hi\x07.,any,,,", "has a control character"),
        ("a,Hi, you,any,,,", "has 7 cells for 6 columns; put a text with commas between quotes"),
        ("a,Hi.,any,,,english please", "'english please' is no language"),
        ("a,Hi.,any,,player.gold >,", "the condition 'player.gold >' cannot be understood"),
        ("a,Hi.,any,,player.gold = 3,", "write `==` to compare"),
        ("a,Hi.,any,,game.night && game.rain,", "write `and` instead of `&&`"),
        ("a,Hi.,any,,game.night || game.rain,", "write `or` instead of `||`"),
        ("a,Hi.,any,,!game.night,", "write `not` instead of `!`"),
        ("a,Hi.,any,,{{ game.night }},", "leave the braces out"),
        ("a,Hi.,any,,player.name|uper == 'A',", "did you mean `upper`?"),
        ("a,Hi.,any,,game.night game.rain,", "'game' was not expected"),
        (f"a,Hi.,any,,{'1 + ' * 300}1,", "at most 1,000 characters"),
    ],
)
def test_a_wrong_row(tmp_path: Path, row: str, problem: str) -> None:
    """A row that is wrong is left out and named with its line; the others are read."""
    lines, (error,) = read(tmp_path, f"{HEAD}z,First.,any,,,\n{row}\ny,Last.,any,,,\n")
    assert [line.id for line in lines] == ["z", "y"]
    assert problem in error.problem
    assert (error.line, Path(str(error.file)).name) == (3, "vampire.csv")


@pytest.mark.parametrize(
    ("text", "problem", "line"),
    [
        ("", "is empty; begin with the line `id,text,intent,mood,when,lang`", 1),
        ("id,text\n", "the first line needs `intent`", 1),
        ("id,txt,intent\n", "there is no column 'txt'; did you mean `text`?", 1),
        ("id,text,intent,id\n", "the column 'id' is there twice", 1),
        ("id;text;intent\n", "separate the columns with commas", 1),
    ],
)
def test_wrong_columns(tmp_path: Path, text: str, problem: str, line: int) -> None:
    """Without the right columns there is nothing to read."""
    with pytest.raises(LinesError) as caught:
        read(tmp_path, text)
    assert problem in caught.value.problem
    assert caught.value.line == line


def test_quotes_that_do_not_fit(tmp_path: Path) -> None:
    """Quotes that never close end the reading, with the line they began in."""
    lines, (error,) = read(tmp_path, HEAD + 'a,Hi.,any,,,\nb,"Never closed,any,,,\n')
    assert [line.id for line in lines] == ["a"]
    assert error.line == 3
    assert 'write a quote inside as ""' in error.problem


def test_bounds(tmp_path: Path) -> None:
    """Too many lines or bytes, and what is no text, are refused."""
    rows = "".join(f"{number},Hi.,any,,,\n" for number in range(5_001))
    with pytest.raises(LinesError, match="more than 5,000 lines"):
        read(tmp_path, HEAD + rows)
    with pytest.raises(WorldError, match=r"larger than 2,000,000 bytes"):
        read(tmp_path, HEAD + "x" * 2_000_000)
    with pytest.raises(WorldError, match="not UTF-8") as caught:
        read(tmp_path, HEAD.encode() + b"a,\xff,any,,,\n")
    assert caught.value.line == 2


def test_many_errors_are_cut(tmp_path: Path) -> None:
    """Of a file that is wrong all over, the first twenty errors are told."""
    _, errors = read(tmp_path, HEAD + ",,,,,x\n" * 3 + "".join(f",no{n},,,,\n" for n in range(50)))
    assert len(errors) == 20


def test_a_condition_never_raises(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A condition that fails on odd facts is not met, and is logged once."""
    (line,), _ = read(tmp_path, HEAD + "a,Hi.,any,,1 / player.gold > 0,\n")
    assert line.when is not None
    assert line.when({"player": {"gold": 4}})
    assert not line.when({"player": {"gold": 0}})
    assert not line.when({"player": {"gold": "much"}})
    assert len(caplog.records) == 1
    assert "vampire.csv:2" in caplog.text
