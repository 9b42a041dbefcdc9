import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver_vllm.stream import MAX_EVENT_BYTES, StreamReader


def chunk(text: str | None = None, finish: str | None = None, **more: object) -> str:
    """Return the JSON of a chunk."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return json.dumps({"choices": [choice], **more}, ensure_ascii=False)


USAGE = json.dumps({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}})


def stream(texts: list[str], newline: str = "\n") -> bytes:
    """Return a whole stream as vLLM sends it."""
    events = [chunk(""), *map(chunk, texts), chunk("", "stop"), USAGE, "[DONE]"]
    return "".join(f"data: {event}{newline}{newline}" for event in events).encode()


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    """Yield the data, cut at these places."""
    start = 0
    for cut in sorted({cut % (len(data) + 1) for cut in cuts}):
        if cut > start:
            yield data[start:cut]
            start = cut
    yield data[start:]


@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=8),
    cuts=st.lists(st.integers(0, 10_000), max_size=60),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_bytes_may_be_cut_anywhere(texts: list[str], cuts: list[int], newline: str) -> None:
    """However the bytes are cut and the lines end, the text comes out whole and in order."""
    reader = StreamReader()
    said = "".join(reader.feed(data) for data in pieces(stream(texts, newline), cuts))
    said += reader.end()
    assert said == "".join(texts)
    assert reader.done
    assert reader.over
    assert reader.finish == "stop"
    assert reader.usage is not None
    assert (reader.usage.prompt_tokens, reader.usage.completion_tokens) == (7, 3)


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_every_single_byte_by_itself(newline: str) -> None:
    """One byte at a time is as good as all at once."""
    reader = StreamReader()
    data = stream(["Blut", " — ", "血🩸"], newline)
    said = "".join(reader.feed(data[i : i + 1]) for i in range(len(data)))
    assert said == "Blut — 血🩸"


def test_one_read_gives_one_text() -> None:
    """All the tokens that one read brought come out as one text."""
    assert StreamReader().feed(stream(["Good", " evening", "."])) == "Good evening."


def test_event_streams_by_the_book() -> None:
    """Comments, other fields, a missing space and data over several lines are understood."""
    reader = StreamReader()
    data = (
        ": keep-alive\n\n"
        "event: message\nid: 1\nretry: 10\n"
        f"data:{chunk('Good')}\n\n"
        '\ndata: {"choices": [{"delta":\ndata: {"content": " evening"}}]}\n\n'
        f": note\ndata: {chunk('.', 'length')}\n\ndata:[DONE]\n\n"
    )
    assert reader.feed(data.encode()) == "Good evening."
    assert reader.finish == "length"
    assert reader.done


def test_the_last_event_may_lack_its_end() -> None:
    """A stream that ends without the last empty line is read to its end."""
    reader = StreamReader()
    assert reader.feed(f"data: {chunk('Leave.', 'stop')}".encode()) == ""
    assert reader.end() == "Leave."
    assert reader.finish == "stop"
    assert not reader.done


@pytest.mark.parametrize(
    ("error", "message"),
    [
        pytest.param({"message": "boom", "type": "X", "code": 500}, "boom", id="object"),
        pytest.param({"message": "boom", "code": "500", "param": None}, "boom", id="code as text"),
        pytest.param("boom", "boom", id="text"),
    ],
)
def test_an_error_event_ends_it(error: object, message: str) -> None:
    """The text before an error event comes out, and what follows it is not read."""
    reader = StreamReader()
    data = f"data: {chunk('Good')}\n\ndata: {json.dumps({'error': error})}\n\ndata: [DONE]\n\n"
    assert reader.feed(data.encode()) == "Good"
    assert reader.error is not None
    assert reader.error.message == message
    assert reader.over
    assert not reader.done


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"nonsense", id="no json"),
        pytest.param(b'{"choices": "none"}', id="wrong types"),
        pytest.param(b"[1, 2]", id="a list"),
        pytest.param(b'{"choices": [{"delta": {"content": "\xff"}}]}', id="no utf-8"),
    ],
)
def test_garbage_ends_it(payload: bytes) -> None:
    """What is no chunk is kept for the error, cut short."""
    reader = StreamReader()
    assert reader.feed(f"data: {chunk('Good')}\n\n".encode() + b"data: " + payload + b"\n\n") == (
        "Good"
    )
    assert reader.over
    assert reader.garbage is not None
    assert len(reader.garbage) <= 80


def test_a_line_without_end_is_bounded() -> None:
    """A server that never ends its line cannot fill the memory."""
    reader = StreamReader()
    for _ in range(MAX_EVENT_BYTES // 2**16 + 1):
        reader.feed(b"x" * 2**16)
    assert reader.over
    assert reader.garbage is not None


def test_a_reason_that_is_no_proper_end_is_kept_apart() -> None:
    """`abort` is not a finish reason that makes a reply whole."""
    reader = StreamReader()
    reader.feed(f"data: {chunk('', 'abort')}\n\ndata: [DONE]\n\n".encode())
    assert reader.finish is None
    assert reader.other_finish == "abort"
