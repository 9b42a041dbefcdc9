"""Text is split into whole sentences as it streams, in any language."""

# ruff: noqa: RUF001  # marks of many languages look alike

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.turn import sentences
from palaver.turn.sentences import SentenceSplitter


def split(pieces: list[str]) -> list[str]:
    """Return the sentences of a text that comes in pieces."""
    splitter = SentenceSplitter()
    found = [sentence for piece in pieces for sentence in splitter.feed(piece)]
    return [sentence.text for sentence in found + splitter.flush()]


CASES = [
    ("Leave now. The night is long!", ["Leave now.", "The night is long!"]),
    ("Mr. Vasile met Dr. Crane. Twice.", ["Mr. Vasile met Dr. Crane.", "Twice."]),
    ("It costs 3.50 gold. Pay.", ["It costs 3.50 gold.", "Pay."]),
    ('"Leave!" he said. So I did.', ['"Leave!"', "he said.", "So I did."]),
    ("Well... perhaps? No!", ["Well...", "perhaps?", "No!"]),
    ("What?! Never.", ["What?!", "Never."]),
    ("你好。再见！「走吧。」好", ["你好。", "再见！", "「走吧。」", "好"]),
    ("नमस्ते। कैसे हो?", ["नमस्ते।", "कैसे हो?"]),
    ("Bonjour, M. Roux. Ça va ?", ["Bonjour, M. Roux.", "Ça va ?"]),
    ("one\ntwo", ["one", "two"]),
    ("no end", ["no end"]),
    ("", []),
]


@pytest.mark.parametrize(("text", "expected"), CASES, ids=[case[0][:20] for case in CASES])
@pytest.mark.parametrize("size", [1, 3, 1_000], ids=["letters", "threes", "whole"])
def test_sentences_are_found(text: str, expected: list[str], size: int) -> None:
    """The sentences are the same whether the text comes by letters or as a whole."""
    assert split([text[at : at + size] for at in range(0, len(text), size)]) == expected


@given(st.lists(st.text(alphabet='ab .!?\n。"', max_size=8), max_size=10))
def test_offsets_point_into_the_text(pieces: list[str]) -> None:
    """Every sentence stands in the whole text at its offset, and nothing but space is lost."""
    text = "".join(pieces)
    splitter = SentenceSplitter()
    found = [sentence for piece in pieces for sentence in splitter.feed(piece)]
    found += splitter.flush()
    for index, sentence in enumerate(found):
        assert sentence.index == index
        assert text[sentence.start : sentence.start + len(sentence.text)] == sentence.text
    assert "".join("".join(sentence.text.split()) for sentence in found) == "".join(text.split())


def test_marks_that_end_nothing_are_looked_at_once() -> None:
    """An abbreviation after a long word does not make every further piece dearer."""
    splitter = SentenceSplitter()
    looked: list[int] = []
    original = sentences._is_abbreviation

    def counted(text: str) -> bool:
        looked.append(len(text))
        return original(text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sentences, "_is_abbreviation", counted)
        splitter.feed("a" * 3_000 + " Mr. Smith")
        for _ in range(50):
            splitter.feed(" and.so")
    assert len(looked) <= 2
    assert max(looked) <= sentences.LONGEST_ABBREVIATION + 1
