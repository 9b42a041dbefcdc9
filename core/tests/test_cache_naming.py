"""Names in replies: whole, in part, with endings, in any script."""

from __future__ import annotations

import pytest

from palaver.cache.naming import Words


@pytest.mark.parametrize(
    ("name", "reply"),
    [
        ("Ada", "Welcome, ADA!"),
        ("Aldric the Bold", "Welcome back, Aldric!"),
        ("Aldric the Bold", "Here comes the bold one."),
        ("Aldric", "Das ist Aldrics Schwert."),
        ("Alexander", "Alex! You are late."),
        ("xX_Aldric_Xx", "Welcome back, Aldric!"),
        ("AldricTheBold", "Welcome back, Bold one!"),
        ("Aldric99", "Welcome back, Aldric!"),
        ("Jos\u00e9", "Hola, Jose."),
        ("Jose", "Hola, Jos\u00e9."),
        ("\uff21\uff44\uff41", "Welcome, Ada."),
        ("A\u200bda", "Welcome, Ada."),
        ("Bo", "You again, Bo?"),
        ("Xu Li", "You again, Li?"),
        ("\u5065\u592a", "\u5065\u592a\u3055\u3093\u3001\u3053\u3093\u306b\u3061\u306f\u3002"),
        ("\u738b\u5c0f\u660e", "\u4f60\u597d\uff0c\u5c0f\u660e\uff01"),
        ("\uae40\ubbfc\uc218", "\ubbfc\uc218\uc57c, \uc548\ub155!"),
        (
            "\u0e2a\u0e21\u0e0a\u0e32\u0e22",
            "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e2a\u0e21\u0e0a\u0e32\u0e22",
        ),
        ("\u0418\u0432\u0430\u043d", "\u041c\u0435\u0447 \u0418\u0432\u0430\u043d\u0430."),
        ("\u0930\u093e\u092e", "\u0928\u092e\u0938\u094d\u0924\u0947, \u0930\u093e\u092e!"),
    ],
)
def test_what_names_somebody(name: str, reply: str) -> None:
    """A part, an ending, a short form, another way to write it: all name whoever is called so."""
    assert Words(reply).names(name)


@pytest.mark.parametrize(
    ("name", "reply"),
    [
        ("Ada", "Welcome to the cicada hall."),
        ("Aldric the Bold", "The road is long. There they are."),
        ("Bo", "Both of you, out."),
        ("", "Welcome."),
        ("42", "It is 42."),
        ("\u5065\u592a", "\u3053\u3093\u306b\u3061\u306f\u3002"),
    ],
)
def test_what_names_nobody(name: str, reply: str) -> None:
    """The middle of a word, an article and a number are no names."""
    assert not Words(reply).names(name)


def test_what_may_be_said_in_any_case() -> None:
    """A part of a name that the situation holds as a word of its own may be said."""
    assert not Words("Stay calm.").names("Calm", besides=Words("en\ncalm"))
    assert Words("Al is here.").names("Al", besides=Words("en\ncalm"))


@pytest.mark.parametrize(
    ("phrase", "reply", "said"),
    [
        ("bakers", "How is the bakers' guild?", True),
        ("Red Gate", "Go to the red gate.", True),
        ("q3", "A question, then?", False),
        ("red", "I am tired.", False),
        ("\u6771\u4eac", "\u6771\u4eac\u304b\u3089\u6765\u305f\u3002", True),
    ],
)
def test_phrases(phrase: str, reply: str, said: bool) -> None:
    """A fact's text is found from the beginning of a word on."""
    assert Words(reply).says(phrase) == said


def test_numbers() -> None:
    """A number is found as a whole, however its thousands are set apart."""
    assert Words("You have 1,200 coins.").has_number("1200")
    assert Words("Du hast 1.200 M\u00fcnzen.").has_number("1200")
    assert not Words("You have 12001 coins.").has_number("1200")
