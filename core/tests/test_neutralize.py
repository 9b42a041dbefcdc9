"""What players and engines say is data: no token of a model, no tag of ours, nothing hidden."""

from __future__ import annotations

import re
import timeit
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment

from palaver.prompt.neutralize import neutralize, neutralize_data
from palaver.prompt.sandbox import make_environment

DATA = Path(__file__).parent / "data"
TEXTS: list[dict[str, Any]] = yaml.safe_load((DATA / "tricks.yaml").read_text("utf-8"))["texts"]
each_text = pytest.mark.parametrize("trick", TEXTS, ids=lambda trick: trick["id"])

# What a tokenizer of each family takes for more than text, wherever it stands.
ROLES = "system|user|assistant|human|#+ ?(?:instruction|response)"
TOKENS = {
    "chatml": r"<\|[^|<>]{1,40}\|>",
    "llama2": r"\[/?INST\]|<</?SYS>>|</?s>",
    "mistral": r"\[/?[A-Z_]+\]",
    "gemma": r"</?(?:start_of_turn|end_of_turn|bos|eos|s|unk|pad|mask)>",
    "deepseek": "<\uff5c[^\uff5c<>]{1,40}\uff5c>",
    "tags": r"</?(?:think|tool_call)>",
    "roles": rf"(?im)^[ \t>*_:-]{{0,3}}(?:{ROLES})[ *]{{0,2}}:",
    "palaver": r"(?i)<\s*/?\s*(?:feel|do)(?=[\s:>{]|$)",
    "invisible": "[\u202a-\u202e\u200b-\u200f\x00-\x08\x1b\U000e0000-\U000e01ef]",
}
CHAT_TEMPLATE = Environment().from_string(
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
)
HIDING = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\ufeff\x00-\x08]")


def seen(family: str, text: str) -> list[str]:
    """Return what a tokenizer of that family finds in a text, however it is hidden."""
    if family == "invisible":
        return re.findall(TOKENS[family], text)
    text = HIDING.sub("", text.replace("\r\n", "\n").replace("\u2028", "\n"))
    text = text.replace("\uff1c", "<").replace("\uff1e", ">")
    flags = re.IGNORECASE if family in ("chatml", "llama2") else 0
    return re.findall(TOKENS[family], text, flags)


@each_text
def test_text_works_where_it_is_not_escaped(trick: dict[str, Any]) -> None:
    """In an unescaped chat template the text brings tokens, or it is run as a template."""
    text = trick["text"]
    if trick["family"] == "jinja":
        source = f"{{% raw %}}{text}{{% endraw %}}" if trick.get("inside") == "raw" else text
        assert text not in Environment().from_string(f"She said: {source}").render()
        return
    prompt = CHAT_TEMPLATE.render(messages=[{"role": "user", "content": text}])
    innocent = CHAT_TEMPLATE.render(messages=[{"role": "user", "content": "hi"}])
    assert len(seen(trick["family"], prompt)) > len(seen(trick["family"], innocent))


@each_text
def test_text_is_harmless(trick: dict[str, Any]) -> None:
    """Neutralized, it brings no token; in our templates it is data and comes out as it went in."""
    text = neutralize(trick["text"])
    if trick["family"] != "jinja":
        assert seen(trick["family"], text) == []
    template = make_environment().from_string("She said: {{ text }}{% set x = text %}{{ x }}")
    assert template.render(text=text) == f"She said: {text}{text}"


@each_text
def test_words_stay(trick: dict[str, Any]) -> None:
    """What a person can read of it is still there."""
    words = re.findall(r"[a-z]{3,}", HIDING.sub("", trick["text"]).lower())
    left = neutralize(trick["text"]).lower()
    assert [word for word in words if word not in left] == []


@pytest.mark.parametrize(
    "text",
    [
        "I <3 you",
        "a < b and c > d, or a <b> c",
        "if x<y then [maybe] we {could} | should",
        "Tell me: where is it? See [1], #2 and <Enter>.",
        "<b>bold</b> & \"quoted\" 'words' 100% $5 ~ ^ ` \\ @",
        "The user: that is me. My system is good. Human beings assist.",
        "Grüße! ¿Qué? 你好 「はい」 привет שלום مرحبا नमस्ते ไทย 한국어",
        "می‌خواهم",
        "👩‍👩‍👧 ❤️ 🏳️‍🌈 1️⃣ 🇫🇷",
        "<something else> <user@example.org> <doing> <feelings>",
        "line one\nline two\n\n- item\n> quote\n# title",
        "{{ not a template }} {% here %}",
        "S: <s1> [i] [INSTALL] <do-nothing>",
        "",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    """Text without tokens comes back as it is."""
    expected = text.replace("1\ufe0f", "1")  # the selector of a keycap is between ASCII and sign
    assert neutralize(text) == expected


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("<|im_start|>system", "(|im_start|)system"),
        ("[INST]ructor", "(INST)ructor"),
        ("bye</s>", "bye(/s)"),
        ("<feel joy 0.5>", "(feel joy 0.5)"),
        ("Human: hi", "Human - hi"),
        ("### Response: ok", "Response - ok"),
        ("a\r\nb\x0bc", "a\nb\nc"),
        ("\ud800", "\ufffd"),
        ("half <| of a token |>", "half (| of a token |)"),
    ],
)
def test_stays_readable(text: str, harmless: str) -> None:
    """A token becomes its own words in parentheses."""
    assert neutralize(text) == harmless


PIECES = [
    *("<", ">", "|", "[", "]", "(", "/", ":", "#", "*", "_", " ", "\n", "\r", "\t"),
    *("\uff5c", "\uff1c", "\ud800"),
    *("s", "INST", "SYS", "im_start", "system", "User", "do", "feel", "eot_id", "start_of_turn"),
    *("\u200b", "\u200c", "\u200d", "\ufe0f", "\u202e", "\u00ad", "\x00", "\x85", "\u2028"),
    *("❤", "é", "م", "a", "1", "\U000e0041", "]~b]", ">>ASK<<", "{{", "%}"),
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text())
def test_idempotent(text: str) -> None:
    """Neutralizing twice is neutralizing once, and nothing dangerous is ever left."""
    once = neutralize(text)
    assert neutralize(once) == once
    for family in ("chatml", "llama2", "gemma", "deepseek", "roles", "palaver"):
        assert seen(family, once) == []
    assert set(seen("invisible", once)) <= {"\u200c", "\u200d"}  # in Persian, in emoji
    once.encode()


def test_halves_do_not_join() -> None:
    """Two texts that stand side by side in a template make no token together."""
    for at in range(1, len("<|im_start|>")):
        first, second = "<|im_start|>"[:at], "<|im_start|>"[at:]
        assert seen("chatml", neutralize(first) + neutralize(second)) == []


def test_data() -> None:
    """Texts anywhere in plain data are neutralized, keys too; the rest stays."""
    data = {"a</s>": ["<|x|>", 1, 2.5, None, True, {"b": ("[INST]",)}]}
    assert neutralize_data(data) == {"a(/s)": ["(|x|)", 1, 2.5, None, True, {"b": ["(INST)"]}]}


def test_plain_text_is_cheap() -> None:
    """A plain sentence of 100 characters takes less than 2 microseconds, on a machine at ease."""
    text = "Good evening, traveller! Have you seen the old mill? "
    text += "It is by the river, and it's haunted. Go!"
    assert 90 < len(text) <= 100
    best = min(timeit.repeat(lambda: neutralize(text), number=1_000, repeat=20)) / 1_000
    assert neutralize(text) is text
    # Ten times the target: this machine may be busy or slow. The figure itself is in the docs.
    assert best < 20e-6


@pytest.mark.parametrize(
    "text",
    [
        *("<" * 4000, "[" * 4000, "<" + " " * 4000, "[" + " " * 4000, "#" * 4000, "\n" * 4000),
        *("<do " * 1000, "<|" * 2000, "é\u200d" * 2000, "* " * 2000, "<s " * 1300, ">>A" * 1300),
    ],
    ids=lambda text: repr(text[:4]),
)
def test_no_text_is_slow(text: str) -> None:
    """The longest utterance takes no more than a few milliseconds, whatever it is made of."""
    best = min(timeit.repeat(lambda: neutralize(text), number=1, repeat=5))
    assert best < 0.05
