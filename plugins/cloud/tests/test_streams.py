"""The three readers, on streams as the providers send them."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.testing.fake_cloud import WORDS
from palaver_cloud.anthropic_stream import AnthropicReader
from palaver_cloud.gemini_stream import GeminiReader
from palaver_cloud.openai_stream import OpenAIReader
from palaver_cloud.sse import MAX_EVENT_BYTES, Reader

READERS: dict[str, Callable[[], Reader]] = {
    "openai": OpenAIReader,
    "anthropic": AnthropicReader,
    "gemini": GeminiReader,
}
each_provider = pytest.mark.parametrize("provider", READERS)
THOUGHT = "I must not say this."


def stream(provider: str, texts: list[str], finish: str = "stop", newline: str = "\n") -> bytes:
    """Return a whole stream: thoughts before, between and after the words, and every extra."""
    words = WORDS[provider]("base")
    words.prompt_tokens, words.tokens = 7, 3
    parts = [words.first(), words.thought(THOUGHT)]
    for text in texts:
        parts += [words.token(text), ": keep-alive\n\n"]
    parts += [words.thought(THOUGHT), words.last(finish), words.end()]
    return "".join(parts).replace("\n", newline).encode()


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    """Yield the data, cut at these places."""
    start = 0
    for cut in sorted({cut % (len(data) + 1) for cut in cuts}):
        if cut > start:
            yield data[start:cut]
            start = cut
    yield data[start:]


def read(reader: Reader, *parts: bytes) -> str:
    """Return all the text of a stream."""
    return "".join([reader.feed(part) for part in parts if not reader.over]) + reader.end()


def events(*values: Any) -> bytes:
    """Return events with these data."""
    return "".join(f"data: {json.dumps(value)}\n\n" for value in values).encode()


def assert_whole(provider: str, reader: Reader) -> None:
    """Check that a stream of `stream` was read to its end, with all that it tells."""
    assert (reader.finish, reader.done) == ("stop", True)
    assert reader.trouble is None
    assert reader.garbage is None
    assert reader.usage is not None
    prompt = 9 if provider == "anthropic" else 7  # 2 of the 9 came from its cache
    assert (reader.usage.prompt, reader.usage.completion) == (prompt, 3)
    assert reader.usage.cached == 2
    assert reader.model is not None
    assert reader.model.startswith("base-")


@each_provider
@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=6),
    cuts=st.lists(st.integers(0, 100_000), max_size=60),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_bytes_may_be_cut_anywhere(
    provider: str, texts: list[str], cuts: list[int], newline: str
) -> None:
    """However bytes are cut and lines end, the words come out whole, in order, and alone."""
    reader = READERS[provider]()
    said = read(reader, *pieces(stream(provider, texts, newline=newline), cuts))
    assert said == "".join(texts)
    assert_whole(provider, reader)


@each_provider
def test_one_cut_at_every_place(provider: str) -> None:
    """A stream that comes in two parts is the same wherever it was cut."""
    data = stream(provider, ["Blut", " — ", "血🩸"])
    for cut in range(len(data)):
        reader = READERS[provider]()
        assert read(reader, data[:cut], data[cut:]) == "Blut — 血🩸"
        assert_whole(provider, reader)


@each_provider
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_every_single_byte_by_itself(provider: str, newline: str) -> None:
    """One byte at a time is as good as all at once."""
    reader = READERS[provider]()
    data = stream(provider, ["Blut", " — ", "血🩸"], newline=newline)
    assert read(reader, *(data[i : i + 1] for i in range(len(data)))) == "Blut — 血🩸"
    assert_whole(provider, reader)


@each_provider
def test_one_read_gives_one_text(provider: str) -> None:
    """All the tokens that one read brought come out as one text."""
    assert READERS[provider]().feed(stream(provider, ["Good", " evening", "."])) == "Good evening."


@each_provider
@pytest.mark.parametrize("finish", ["length", "filter"])
def test_finish_reasons_are_told_apart(provider: str, finish: str) -> None:
    """A reply that was cut, and one that was withheld, are known by their reasons."""
    reader = READERS[provider]()
    assert read(reader, stream(provider, ["Good"], finish)) == "Good"
    assert reader.finish == finish


@each_provider
def test_a_reason_of_tomorrow_is_no_proper_end(provider: str) -> None:
    """A finish reason that nobody knows does not make a reply whole."""
    reader = READERS[provider]()
    read(reader, stream(provider, ["Good"], "whim"))
    assert (reader.finish, reader.other_finish) == (None, "whim")


@each_provider
def test_an_error_event_ends_it(provider: str) -> None:
    """The text before an error comes out, and nothing after it."""
    words = WORDS[provider]("base")
    reader = READERS[provider]()
    data = words.first() + words.token("Good") + words.failure(503) + "\n" + words.token(" night")
    assert read(reader, data.encode()) == "Good"
    assert reader.trouble is not None
    assert reader.trouble.message == "Something went wrong."
    assert reader.over
    assert not reader.done


@each_provider
@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"nonsense", id="no json"),
        pytest.param(b"[1, 2]", id="a list"),
        pytest.param(b'{"type": 1, "choices": "none", "candidates": "none"}', id="wrong types"),
        pytest.param(b'{"type": "\xff", "model": "\xff", "modelVersion": "\xff"}', id="no utf-8"),
    ],
)
def test_garbage_ends_it(provider: str, payload: bytes) -> None:
    """What is no chunk is kept for the error, cut short."""
    words = WORDS[provider]("base")
    reader = READERS[provider]()
    data = (words.first() + words.token("Good")).encode() + b"data: " + payload + b"\n\n"
    assert read(reader, data) == "Good"
    assert reader.over
    assert reader.garbage is not None
    assert len(reader.garbage) <= 80


@each_provider
def test_an_event_without_end_is_bounded(provider: str) -> None:
    """A server that never ends its line cannot fill the memory."""
    reader = READERS[provider]()
    for _ in range(MAX_EVENT_BYTES // 2**16 + 1):
        reader.feed(b"x" * 2**16)
    assert reader.over
    assert reader.garbage is not None


@each_provider
def test_event_streams_by_the_book(provider: str) -> None:
    """A mark at the start, other fields, a missing space and data over several lines are read."""
    words = WORDS[provider]("base")
    data = (words.first() + words.token("Good")).replace("data: ", "id: 1\nretry: 10\ndata:")
    more = words.token(" evening.").replace(',"', ',\ndata: "').replace("data: ", "data:  ", 1)
    reader = READERS[provider]()
    said = read(reader, b"\xef\xbb\xbf" + (data + ": a note\n\n\n\n" + more).encode())
    assert said == "Good evening."


@each_provider
@given(data=st.binary(max_size=400))
def test_no_bytes_raise(provider: str, data: bytes) -> None:
    """Whatever a server sends, a reader gives up in its own way."""
    for form in (data, b"data: " + data + b"\n\n", b"data: {" + data + b"}\n\n"):
        read(READERS[provider](), form)


def test_anthropic_counts_nothing_before_the_words() -> None:
    """The one token that the first event tells of is no count; what was read is."""
    reader = AnthropicReader()
    usage = {"input_tokens": 500, "output_tokens": 1}
    reader.feed(events({"type": "message_start", "message": {"model": "c", "usage": usage}}))
    assert reader.usage is not None
    assert (reader.usage.prompt, reader.usage.completion) == (500, None)
    reader.feed(events({"type": "message_delta", "usage": {"output_tokens": 90}}))
    assert (reader.usage.prompt, reader.usage.completion) == (500, 90)


# --- OpenAI and those that are compatible --------------------------------------------------------


def chunk(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a chunk with one choice."""
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        pytest.param(chunk({"reasoning_content": "Hm."}), "", id="reasoning of DeepSeek"),
        pytest.param(chunk({"reasoning": "Hm.", "content": ""}), "", id="reasoning of OpenRouter"),
        pytest.param(
            chunk(
                {
                    "content": [
                        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
                        {"type": "text", "text": "Good."},
                    ]
                }
            ),
            "Good.",
            id="parts of Mistral",
        ),
        pytest.param({"choices": [], "prompt_filter_results": [{}]}, "", id="first of Azure"),
        pytest.param(chunk(None), "", id="no delta"),
        pytest.param({"id": "x", "object": "heartbeat"}, "", id="no choices"),
        pytest.param(chunk({"content": "Good."}, ""), "Good.", id="empty finish reason"),
        pytest.param(chunk({"function_call": {"arguments": "{}"}}), "", id="function call"),
    ],
)
def test_openai_dialects(sent: dict[str, Any], said: str) -> None:
    """What compatible servers do differently is understood, and what is thought is not said."""
    reader = OpenAIReader()
    assert read(reader, events(sent)) == said
    assert reader.garbage is None
    assert reader.finish is None


def test_openai_refusals_are_not_the_reply() -> None:
    """A refusal in a field of its own makes the reply a withheld one, and tells why."""
    reader = OpenAIReader()
    refusal = [chunk({"refusal": "I'm sorry,"}), chunk({"refusal": " no."}), chunk({}, "stop")]
    assert read(reader, events(*refusal)) == ""
    assert (reader.finish, reader.why) == ("filter", "I'm sorry, no.")


def test_openai_errors_with_a_choice_beside_them() -> None:
    """OpenRouter's error has a choice whose finish reason is `error`."""
    reader = OpenAIReader()
    error = {"code": 502, "message": "Provider returned error"}
    assert read(reader, events(chunk({"content": ""}, "error", error=error))) == ""
    assert reader.trouble is not None
    assert (reader.trouble.code, reader.finish) == ("502", None)


def test_openai_counts_of_a_cache_by_another_name() -> None:
    """DeepSeek tells cache hits in a field of its own, and reasoning counts as written."""
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "prompt_cache_hit_tokens": 8,
        "completion_tokens_details": {"reasoning_tokens": 4},
    }
    reader = OpenAIReader()
    read(reader, events({"choices": [], "usage": usage}))
    assert reader.usage is not None
    assert (reader.usage.cached, reader.usage.thought) == (8, 4)


def test_a_refusal_without_end_is_bounded() -> None:
    """A server that never ends its refusal cannot fill the memory."""
    reader = OpenAIReader()
    for _ in range(1_000):
        reader.feed(events(chunk({"refusal": "No, and no. " * 100})))
    assert reader.why.startswith("No, and no.")
    assert len(reader.why) < 1_000


# --- Anthropic -----------------------------------------------------------------------------------


def test_anthropic_events_of_tomorrow_are_passed_over() -> None:
    """Unknown events, blocks and deltas are no errors, as its versioning asks for."""
    later = [
        {"type": "weather", "sun": True},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "fallback"}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": "A"}},
        {
            "type": "content_block_delta",
            "index": 1,
            "delta": {"type": "citations_delta", "citation": {"cited_text": "x"}},
        },
        {"type": "content_block_delta", "index": 1, "delta": {"type": "odd", "text": "not this"}},
    ]
    reader = AnthropicReader()
    assert read(reader, events(*later)) == "A"
    assert not reader.over


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("tool_use", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "length"),
        ("refusal", "filter"),
    ],
)
def test_anthropic_stop_reasons(reason: str, finish: str) -> None:
    """Every stop reason it documents is known."""
    reader = AnthropicReader()
    details = {"type": "refusal", "category": "cyber"} if reason == "refusal" else None
    delta = {"stop_reason": reason, "stop_sequence": None, "stop_details": details}
    read(reader, events({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 1}}))
    assert reader.finish == finish
    assert reader.why == ("cyber" if reason == "refusal" else "")


def test_anthropic_counts_what_caches_hold() -> None:
    """Tokens read from a cache and written to one count as read, and later counts replace."""
    first = {"input_tokens": 10, "cache_creation_input_tokens": 20, "output_tokens": 1}
    later = {"output_tokens": 9, "cache_read_input_tokens": 30}
    reader = AnthropicReader()
    read(
        reader,
        events(
            {"type": "message_start", "message": {"model": "m", "usage": first}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": later},
        ),
    )
    assert reader.usage is not None
    assert (reader.usage.prompt, reader.usage.completion, reader.usage.cached) == (60, 9, 30)


# --- Gemini --------------------------------------------------------------------------------------


def candidate(finish: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a chunk with one candidate."""
    return {"candidates": [{"finishReason": finish, "index": 0, **more}]}


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "filter"),
        ("RECITATION", "filter"),
        ("LANGUAGE", "filter"),
        ("BLOCKLIST", "filter"),
        ("PROHIBITED_CONTENT", "filter"),
        ("SPII", "filter"),
        ("IMAGE_SAFETY", "filter"),
        ("FINISH_REASON_UNSPECIFIED", None),
        ("OTHER", None),
        ("MALFORMED_FUNCTION_CALL", None),
        ("UNEXPECTED_TOOL_CALL", None),
    ],
)
def test_gemini_finish_reasons(reason: str, finish: str | None) -> None:
    """Every finish reason it documents is an end, a cut, a filter, or none of these."""
    reader = GeminiReader()
    read(reader, events(candidate(reason)))
    assert reader.finish == finish
    assert (reader.why != "") == (finish == "filter")


def test_gemini_blocked_prompts_are_told() -> None:
    """A blocked prompt has no candidate, only the reason."""
    reader = GeminiReader()
    read(reader, events({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}))
    assert (reader.finish, reader.why) == ("filter", "the prompt was blocked: PROHIBITED_CONTENT")


def test_gemini_errors_break_the_format_and_follow_a_stop() -> None:
    """An error as bare JSON is found, even after a chunk that says STOP."""
    reader = GeminiReader()
    error = {"error": {"code": 503, "message": "Overloaded.", "status": "UNAVAILABLE"}}
    sent = events(candidate(content={"parts": [{"text": "Okay"}]}), candidate("STOP"))
    bare = json.dumps([error], indent=2).encode()
    assert read(reader, sent + bare[:30], bare[30:]) == "Okay"
    assert reader.trouble is not None
    assert (reader.trouble.code, reader.trouble.kind) == ("503", "UNAVAILABLE")
    assert not reader.done


def test_gemini_parts_are_joined_without_thoughts() -> None:
    """One chunk may hold words and thoughts side by side."""
    parts = [{"text": "Hm.", "thought": True}, {"text": "Good "}, {"inlineData": {}}, {"text": "."}]
    assert read(GeminiReader(), events(candidate(content={"parts": parts}))) == "Good ."


def test_gemini_thinking_counts_as_written() -> None:
    """What was thought is paid for like what was said."""
    usage = {"promptTokenCount": 5, "candidatesTokenCount": 7, "thoughtsTokenCount": 100}
    reader = GeminiReader()
    read(reader, events({**candidate("STOP"), "usageMetadata": usage}))
    assert reader.usage is not None
    assert (reader.usage.completion, reader.usage.thought) == (107, 100)
