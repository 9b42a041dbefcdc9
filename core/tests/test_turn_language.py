"""Which language is chosen, and what it is called."""

from __future__ import annotations

import pytest

from palaver.turn.language import choose_lang, lang_name, matching_lang, normal_lang


@pytest.mark.parametrize(
    ("wishes", "available", "expected"),
    [
        (("fr-CA", "de", "en"), (), "fr-CA"),
        ((None, "de", "en"), (), "de"),
        ((None, None, "it"), (), "it"),
        ((None, None, None), (), "en"),
        (("", " ", "pl"), (), "pl"),
        (("pt_br", None, "en"), (), "pt-BR"),
        (("fr-CA", None, "en"), ("en", "fr"), "fr"),
        (("fr-CA", None, "en"), ("en", "fr", "fr-CA"), "fr-CA"),
        (("fr", None, "en"), ("en", "fr-FR", "fr-CA"), "fr-CA"),
        (("zh-Hant-TW", None, "en"), ("zh", "zh-Hant"), "zh-Hant"),
        (("FR_ca", None, "en"), ("fr_CA",), "fr_CA"),
        (("ja", "de", "en"), ("en", "de"), "de"),
        (("ja", None, "en"), ("en", "de"), "en"),
        (("ja", None, "ko"), ("en", "de"), "ja"),
    ],
)
def test_choose(
    wishes: tuple[str | None, str | None, str | None], available: tuple[str, ...], expected: str
) -> None:
    """Turn, player and persona are asked in this order, from the exact tag to a wider one."""
    assert choose_lang(*wishes, available) == expected


def test_nothing_near() -> None:
    """A language is no match for another one that begins with the same letters."""
    assert matching_lang("fi", ["fil", "f", "en"]) is None


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("en", "English"),
        ("fr-BE", "French"),
        ("pt_BR", "Brazilian Portuguese"),
        ("zh-hant-HK", "Traditional Chinese"),
        ("tlh", "tlh"),
        ("", ""),
    ],
)
def test_name(tag: str, name: str) -> None:
    """A tag has the name of its language, or of the wider one; an unknown one stays as it is."""
    assert lang_name(tag) == name


def test_spelling() -> None:
    """Tags are spelled as RFC 5646 recommends."""
    spelled = [normal_lang(tag) for tag in ("EN_us", "zh-HANT-tw", "es-419", "sl-ROZAJ", "-en-")]
    assert spelled == ["en-US", "zh-Hant-TW", "es-419", "sl-rozaj", "en"]
