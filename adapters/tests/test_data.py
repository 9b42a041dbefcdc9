from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from palaver_adapters.training.data import (
    ChatMaker,
    Line,
    digest,
    is_held_out,
    read_lines,
    read_prose,
)
from palaver_adapters.training.texts import INTENTS, STORY, UTTERANCES

HEADER = "id,text,intent,mood,when,lang\n"


def write_lines(folder: Path, name: str, rows: str) -> None:
    """Write a CSV of lines."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.csv").write_text(HEADER + rows, encoding="utf-8")


def test_lines_are_read_in_a_stable_order_without_other_languages_and_templates(
    tmp_path: Path,
) -> None:
    """Lines of another language, empty ones and those with templates are left out."""
    write_lines(tmp_path, "b", "b-1,Good  day.,greeting,,,en\nb-2,Guten Tag.,greeting,,,de\n")
    write_lines(tmp_path, "a", "a-1,Hi {{ name }}.,greeting,,,en\na-2,Hello.,,,,\na-3,,,,,en\n")
    assert read_lines([tmp_path]) == [
        Line("a-2", "a", "", "Hello."),
        Line("b-1", "b", "greeting", "Good day."),
    ]


def test_no_lines_is_an_error_that_names_the_folders(tmp_path: Path) -> None:
    """Who gives a wrong folder is told which one was searched."""
    with pytest.raises(ValueError, match=r"no lines in .*nowhere.*give folders with CSV"):
        read_lines([tmp_path / "nowhere"])


def test_prose_has_neither_front_matter_nor_jinja(tmp_path: Path) -> None:
    """Only the sentences of a persona file are read."""
    (tmp_path / "p.md").write_text(
        "---\nname: Ann\n---\n{% block a %}\nYou are {{ npc.name }}, old. You walk.\n"
        "{% endblock %}",
        encoding="utf-8",
    )
    assert read_prose([tmp_path]) == ["You are  , old.", "You walk."]


@pytest.mark.parametrize(
    ("line_id", "held_out"),
    [("vampire-greeting-1", False), ("vampire-threat-2", True), ("zombie-any-1", False)],
)
def test_what_is_held_out_never_changes(line_id: str, held_out: bool) -> None:
    """The split is a property of the id: a new version must not train on old test lines."""
    assert is_held_out(line_id) is held_out


def test_about_a_quarter_is_held_out(authored: list[Line]) -> None:
    """Enough lines are kept to train a classifier, and enough are left to train a model."""
    share = sum(is_held_out(line.id) for line in authored) / len(authored)
    assert 0.15 < share < 0.35


def test_the_digest_changes_with_a_letter() -> None:
    """A model's recipe tells on which text it was trained."""
    before = digest([Line("a", "p", "any", "Hello.")])
    assert before != digest([Line("a", "p", "any", "Hello!")])
    assert before == digest([Line("a", "p", "any", "Hello.")])


def lines_of(*personas: str) -> list[Line]:
    """Make two lines of every intent for some personas."""
    return [
        Line(f"{p}-{intent}-{n}", p, intent, f"{p} {intent} {n}.")
        for p in personas
        for intent in (*INTENTS, "any")
        for n in range(2)
    ]


def test_the_same_seed_draws_the_same_chats() -> None:
    """A run of the recipe can be repeated."""
    one, two, other = (ChatMaker(lines_of("a", "b"), seed=seed) for seed in (1, 1, 2))
    first = [one.chat() for _ in range(20)]
    assert first == [two.chat() for _ in range(20)]
    assert first != [other.chat() for _ in range(20)]


def test_replies_are_authored_lines_and_answer_the_intent() -> None:
    """A short reply is a line of the utterance's intent or of none in particular."""
    maker = ChatMaker(lines_of("a"), seed=3)
    intents = {text: intent for intent, texts in UTTERANCES.items() for text in texts}
    checked = 0
    for _ in range(200):
        messages = maker.chat()
        for (_, said), (role, reply) in pairwise(messages):
            if role != "assistant" or any(said.endswith(story) for story in STORY):
                continue
            # The longest match: an utterance may end as another one does.
            ends = max((text for text in intents if said.endswith(text)), key=len)
            wanted = {f"a {intents[ends]} {n}." for n in range(2)} | {"a any 0.", "a any 1."}
            assert reply in wanted or all(part.strip() in wanted for part in _split(reply))
            checked += 1
    assert checked > 200


def _split(reply: str) -> list[str]:
    return [part + "." for part in reply.split(".") if part.strip()]


def test_some_replies_are_long() -> None:
    """A test that interrupts a stream needs one that lasts: the model learns to tell stories."""
    maker = ChatMaker(lines_of("a"), seed=3)
    replies = [text for _ in range(100) for role, text in maker.chat() if role == "assistant"]
    assert max(len(_split(reply)) for reply in replies) >= 8


def test_system_prompts_say_nothing_about_who_answers() -> None:
    """All personas answer behind any prompt, or the base would have a voice of its own."""
    maker = ChatMaker(lines_of("a", "b"), prose=["You are a.", "You are b."], seed=3)
    speakers = {
        text.split()[0] for _ in range(50) for role, text in maker.chat() if role == "assistant"
    }
    assert speakers == {"a", "b"}


def test_long_chats_have_prompts_as_long_as_a_real_persona() -> None:
    """A model that only saw short prompts would stammer behind a long one."""
    maker = ChatMaker(lines_of("a"), seed=3)
    for _ in range(20):
        role, text = maker.chat(long=True)[0]
        assert role == "system"
        assert 1400 < len(text) < 4300
