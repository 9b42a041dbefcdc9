import pytest
from pydantic import ValidationError

from palaver_ollama.config import DEFAULT_URL, OllamaSettings, seconds


def make(**fields: object) -> OllamaSettings:
    """Return settings."""
    return OllamaSettings.model_validate({"type": "ollama", **fields})


def test_without_a_word_it_is_the_server_of_this_machine() -> None:
    """Ollama's own address is the default."""
    assert make().addresses == [DEFAULT_URL]


@pytest.mark.parametrize("url", ["http://gpu:11434", "http://gpu:11434/", "http://gpu:11434/api"])
def test_an_address_is_the_servers_own(url: str) -> None:
    """Paths that people copy from other settings are taken off."""
    assert make(url=url).addresses == ["http://gpu:11434"]


def test_addresses_are_taken_once() -> None:
    """The same server twice is one server."""
    assert make(urls=["http://a:1", "http://a:1/", "http://b:1"]).addresses == [
        "http://a:1",
        "http://b:1",
    ]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"url": "gpu:11434"}, "write an address such as"),
        ({"url": "http://me:secret@gpu"}, "api_key_env"),
        ({"url": "http://a", "urls": ["http://b"]}, "either `url` or `urls`"),
        ({"keep_alive": "30"}, "30m"),
        ({"keep_alive": "soon"}, "30m"),
        ({"keep_alive": 0}, "for every turn"),
        ({"keep_alive": "0s"}, "for every turn"),
        ({"options": {"num_ctx": 2048}}, "beside `options`"),
        ({"num_ctx": 2048, "context_tokens": 4096}, "leave it out"),
        ({"batch_size": -1}, "greater than or equal"),
        ({"think": "deep"}, "think"),
    ],
)
def test_what_cannot_work_is_refused(fields: dict[str, object], problem: str) -> None:
    """A setting that cannot be used says what to write instead."""
    with pytest.raises(ValidationError, match=problem):
        make(**fields)


@pytest.mark.parametrize(
    ("fields", "concurrency"),
    [
        ({}, None),
        ({"batch_size": 0}, None),
        ({"batch_size": 2}, 6),
        ({"batch_size": 2, "concurrency": 30}, 30),
    ],
)
def test_a_window_leaves_the_queue_to_the_chain(
    fields: dict[str, object], concurrency: int | None
) -> None:
    """Few more get in than go at once, unless the settings say otherwise."""
    assert make(**fields).concurrency == concurrency


@pytest.mark.parametrize(
    ("keep_alive", "wanted"),
    [("30m", 1800), ("1h30m", 5400), ("1.5s", 1.5), (600, 600), (-1, None), ("-1m", None)],
)
def test_how_long_a_model_is_kept(keep_alive: int | str, wanted: float | None) -> None:
    """Go's durations and numbers mean seconds; below zero is for ever."""
    assert seconds(make(keep_alive=keep_alive).keep_alive) == (wanted or float("inf"))
