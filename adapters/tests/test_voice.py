from __future__ import annotations

import pytest

from palaver_adapters.evaluation.voice import VoiceClassifier
from palaver_adapters.training.data import Line, is_held_out

PERSONAS = ("vampire", "zombie")


def samples(lines: list[Line], *, held_out: bool) -> list[tuple[str, str]]:
    """Lines of the two personas that have adapters, of one half of the split."""
    return [
        (line.persona, line.text)
        for line in lines
        if line.persona in PERSONAS and is_held_out(line.id) is held_out
    ]


@pytest.mark.parametrize("train_on_held_out", [True, False])
def test_it_names_the_voice_of_lines_it_never_saw(
    authored: list[Line], *, train_on_held_out: bool
) -> None:
    """Trained on one part of the authored lines it names at least 90 % of the other."""
    classifier = VoiceClassifier(samples(authored, held_out=train_on_held_out))
    assert classifier.accuracy(samples(authored, held_out=not train_on_held_out)) >= 0.9


def test_it_is_at_chance_on_text_that_does_not_depend_on_the_persona(
    authored: list[Line],
) -> None:
    """Where the same texts are given for both personas, half are named rightly."""
    classifier = VoiceClassifier(samples(authored, held_out=True))
    texts = [line.text for line in authored if line.persona not in PERSONAS]
    assert classifier.accuracy([(p, text) for p in PERSONAS for text in texts]) == 0.5


def test_a_persona_with_more_lines_is_not_more_likely() -> None:
    """How many lines a persona has says nothing about who is speaking."""
    few, many = [("a", "moon")], [("b", "sun")] * 50
    classifier = VoiceClassifier([*few, *many])
    assert classifier.personas == ("a", "b")
    assert classifier.name("The moon.") == "a"
    assert classifier.name("The sun.") == "b"


def test_text_without_any_known_feature_gets_an_answer() -> None:
    """Nothing that a model writes can make the classifier fail."""
    classifier = VoiceClassifier([("a", "moon"), ("b", "sun")])
    for text in ("", " ", "…", "💀", "日本語"):
        assert classifier.name(text) in classifier.personas


def test_one_persona_is_an_error() -> None:
    """A classifier that knows one voice would always be right."""
    with pytest.raises(ValueError, match=r"two personas or more, got \['a'\]"):
        VoiceClassifier([("a", "moon")])


def test_accuracy_of_nothing_is_an_error() -> None:
    """A test that has no replies must not pass."""
    with pytest.raises(ValueError, match="no samples"):
        VoiceClassifier([("a", "moon"), ("b", "sun")]).accuracy([])
