import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver_ollama.stream import MAX_LINE_BYTES, StreamReader


def chunk(text: str | None = None, **more: Any) -> str:
    """Return one line of a stream, as Ollama writes it."""
    message = {"role": "assistant", "content": text}
    fields = {"model": "tiny", "created_at": "2025-10-26T17:15:24Z", "message": message, **more}
    return json.dumps({"done": False, **fields}, ensure_ascii=False)


COUNTS = {"total_duration": 4883583458, "prompt_eval_count": 26, "eval_count": 3}
DONE = chunk("", done=True, done_reason="stop", **COUNTS)


def stream(texts: list[str], newline: str = "\n") -> bytes:
    """Return a whole stream as Ollama sends it."""
    return "".join(f"{one}{newline}" for one in [*map(chunk, texts), DONE]).encode()


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    """Yield the data, cut at these places."""
    start = 0
    for cut in sorted({cut % (len(data) + 1) for cut in cuts}):
        if cut > start:
            yield data[start:cut]
            start = cut
    yield data[start:]


def read(*lines: str | bytes) -> tuple[str, StreamReader]:
    """Return the text of these lines, and the reader."""
    reader = StreamReader()
    said = ""
    for one in lines:
        said += reader.feed(one if isinstance(one, bytes) else f"{one}\n".encode())
    return said + reader.end(), reader


@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=8),
    cuts=st.lists(st.integers(0, 10_000), max_size=60),
    newline=st.sampled_from(["\n", "\r\n", "\n\n"]),
)
def test_bytes_may_be_cut_anywhere(texts: list[str], cuts: list[int], newline: str) -> None:
    """However the bytes are cut and the lines end, the text comes out whole and in order."""
    texts = ["Well.", *texts]  # An opening of `<` alone would be held, which has its own test.
    reader = StreamReader()
    said = "".join(reader.feed(data) for data in pieces(stream(texts, newline), cuts))
    said += reader.end()
    assert said == "".join(texts)
    assert reader.done
    assert reader.over
    assert (reader.finish, reader.said_why) == ("stop", True)
    assert (reader.prompt_tokens, reader.completion_tokens) == (26, 3)


def test_every_single_byte_by_itself() -> None:
    """One byte at a time is as good as all at once."""
    reader = StreamReader()
    data = stream(["Blut", " — ", "血🩸"])
    assert "".join(reader.feed(data[i : i + 1]) for i in range(len(data))) == "Blut — 血🩸"


def test_what_comes_in_one_read_is_one_text() -> None:
    """All lines of one read are one piece."""
    assert StreamReader().feed(stream(["a", "b", "c"])) == "abc"


def test_the_last_line_may_lack_its_end() -> None:
    """A last line without a newline counts when the stream ends."""
    said, reader = read(chunk("Hm."), DONE.encode())
    assert (said, reader.finish) == ("Hm.", "stop")


@pytest.mark.parametrize(
    ("reason", "finish", "other"),
    [
        ("stop", "stop", None),
        ("length", "length", None),
        (None, "stop", None),
        ("", "stop", None),
        ("load", None, "load"),
        ("unload", None, "unload"),
    ],
)
def test_how_a_reply_ends(reason: str | None, finish: str | None, other: str | None) -> None:
    """Only `stop`, `length` and no reason at all end a reply; loading is none."""
    more = {} if reason is None else {"done_reason": reason}
    _, reader = read(chunk("Hm."), chunk("", done=True, **more))
    assert (reader.done, reader.finish, reader.other_finish) == (True, finish, other)


def test_what_comes_after_the_end_is_not_read() -> None:
    """Nothing is said after the line that says it is done."""
    assert read(f"{chunk('Hm.')}\n{DONE}\n{chunk('More')}")[0] == "Hm."


def test_a_prompt_from_the_cache_has_no_count() -> None:
    """An older server leaves out the count of a prompt that it had read before."""
    _, reader = read(chunk("Hm."), chunk("", done=True, eval_count=1))
    assert (reader.prompt_tokens, reader.completion_tokens) == (None, 1)


def test_thoughts_in_their_own_field_are_not_spoken() -> None:
    """What stands in `thinking`, and calls of tools, are not the reply."""
    message = {"role": "assistant", "content": "", "thinking": "He lies."}
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "x"}}]}
    lines = [json.dumps({"message": one, "done": False}) for one in (message, call)]
    assert read(*lines, chunk("Never."), DONE)[0] == "Never."


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["<think>", "He lies.", "</think>", "\n\nNever."], "Never."),
        (["\n<th", "ink>He ", "lies.</thi", "nk>", " Nev", "er."], "Never."),
        (["<think>\n\n</think>\n\nNever", "."], "Never."),
        (["<", "3 of them"], "<3 of them"),
        (["  Well", "."], "  Well."),
        (["<thin"], "<thin"),
        (["Say <think> aloud"], "Say <think> aloud"),
        (["<think>", "for ever"], ""),
        (["<think>one</think>", "A</think>B"], "A</think>B"),
    ],
)
def test_thoughts_in_the_reply_are_not_spoken(texts: list[str], said: str) -> None:
    """A reply that opens with a thought between tags begins after it, however it is cut."""
    assert read(*map(chunk, texts), DONE)[0] == said
    assert read(stream(texts))[0] == said


def test_an_error_inside_the_stream() -> None:
    """An error ends the reading; what was said before it counts."""
    said, reader = read(chunk("Good"), '{"error":"llama runner process has terminated"}')
    assert (said, reader.error) == ("Good", "llama runner process has terminated")
    assert reader.over
    assert reader.finish is None
    assert read('{"error":{"message":"no","code":500}}')[1].error == "no"


@pytest.mark.parametrize(
    "garbage",
    ["<html>", "[]", '{"message":"x"}', '{"done":"yes"}', '{"message":{"content":"\\ud8"}}', "{"],
)
def test_garbage_ends_it(garbage: str) -> None:
    """A line that is no chunk ends the reading, also between good ones in the same read."""
    data = f"{chunk('Good')}\n\n{garbage}\n{chunk('more')}\n".encode()
    said, reader = read(data)
    assert said == "Good"
    assert reader.over
    assert reader.garbage == garbage


def test_bytes_that_are_no_text_are_garbage() -> None:
    """Broken UTF-8 is garbage, not a crash."""
    _, reader = read(b'{"message":{"content":"\xff\xfe"}}\n')
    assert reader.garbage is not None


def test_a_line_has_a_bound() -> None:
    """A line that does not end is given up, and not kept."""
    _, reader = read(b'{"message":{"content":"' + b"x" * MAX_LINE_BYTES)
    assert reader.over
    assert reader.garbage is not None


def test_other_objects_are_no_end() -> None:
    """Lines that say nothing are passed over, and do not finish a reply."""
    said, reader = read("{}", '{"status":"pulling manifest"}', chunk(None), '{"message":null}')
    assert (said, reader.over, reader.finish) == ("", False, None)
