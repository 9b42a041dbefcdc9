"""What is sent to each provider."""

import itertools
import json
from typing import Any

import pytest
from pydantic import ValidationError

from palaver.chain.backend import Sampling
from palaver.prompt.sections import Message
from palaver.testing.turns import make_request
from palaver_cloud.config import CloudSettings
from palaver_cloud.provider import Provider
from palaver_cloud.providers import PROVIDERS
from palaver_cloud.wire import GO_ON, OPENING

each_provider = pytest.mark.parametrize("name", PROVIDERS)
TALK = [
    Message("system", "You are Valerius."),
    Message("user", "Who are you?"),
    Message("assistant", "A friend."),
    Message("user", "Whose?"),
]
ALL = Sampling(temperature=1.5, top_p=0.9, max_tokens=40, stop=("\n", "Anna:"))
CLOSED = {
    "type": "object",
    "properties": {"line": {"type": "string"}},
    "required": ["line"],
    "additionalProperties": False,
}


def provider(name: str, **settings: Any) -> Provider:
    """Return how a provider is spoken to."""
    table = {"type": "cloud", "provider": name, "model": "base", **settings}
    return PROVIDERS[name](CloudSettings.model_validate(table))


def body(one: Provider, omit: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    """Return the JSON of a request."""
    request = make_request(**{"messages": TALK, "sampling": Sampling(), **fields})
    parsed: dict[str, Any] = json.loads(one.ask(request, omit).body)
    return parsed


def test_openai_is_asked_in_its_own_fields() -> None:
    """Its own server gets `max_completion_tokens`, and everything that is wanted."""
    sent = body(provider("openai"), sampling=ALL, seed=7, schema=CLOSED)
    assert sent == {
        "model": "base",
        "messages": [{"role": role, "content": text} for role, text in TALK],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 1.5,
        "top_p": 0.9,
        "max_completion_tokens": 40,
        "stop": ["\n", "Anna:"],
        "seed": 7,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "reply", "schema": CLOSED, "strict": True},
        },
    }


def test_anthropic_is_asked_in_its_own_fields() -> None:
    """The system's text stands apart, and of the sampling what it takes."""
    sent = body(provider("anthropic"), sampling=ALL, seed=7, schema=CLOSED)
    assert sent == {
        "model": "base",
        "system": "You are Valerius.",
        "messages": [{"role": role, "content": text} for role, text in TALK[1:]],
        "stream": True,
        "max_tokens": 40,
        "temperature": 1.0,
        "stop_sequences": ["Anna:"],
        "output_config": {"format": {"type": "json_schema", "schema": CLOSED}},
    }


def test_gemini_is_asked_in_its_own_fields() -> None:
    """Roles, names and nesting are Gemini's, and the seed fits its 32 bits."""
    one = provider("gemini", thinking_tokens=0)
    sent = body(one, sampling=ALL, seed=2**40 + 7, schema=CLOSED)
    assert sent == {
        "systemInstruction": {"parts": [{"text": "You are Valerius."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Who are you?"}]},
            {"role": "model", "parts": [{"text": "A friend."}]},
            {"role": "user", "parts": [{"text": "Whose?"}]},
        ],
        "generationConfig": {
            "temperature": 1.5,
            "topP": 0.9,
            "maxOutputTokens": 40,
            "stopSequences": ["\n", "Anna:"],
            "seed": 7,
            "thinkingConfig": {"thinkingBudget": 0},
            "responseMimeType": "application/json",
            "responseJsonSchema": CLOSED,
        },
    }


def test_what_is_not_wanted_is_not_sent() -> None:
    """What the request leaves to the model is left out; only Anthropic has to be told a length."""
    assert set(body(provider("openai"))) == {"model", "messages", "stream", "stream_options"}
    assert set(body(provider("anthropic"))) == {
        *("model", "messages", "stream", "system", "max_tokens")
    }
    assert set(body(provider("gemini"))) == {"contents", "systemInstruction"}


@pytest.mark.parametrize("name", ["anthropic", "gemini"])
@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([Message("system", "You are Valerius.")], id="system only"),
        pytest.param([], id="nothing"),
        pytest.param([Message("assistant", "Welcome."), Message("user", "Hm.")], id="it began"),
        pytest.param(
            [Message("user", "A"), Message("user", " \n"), Message("user", "B")], id="two"
        ),
    ],
)
def test_roles_alternate_and_the_user_begins(name: str, messages: list[Message]) -> None:
    """Whatever the prompt is made of, Anthropic and Gemini get what they accept."""
    sent = body(provider(name), messages=messages)
    turns = sent.get("messages") or sent["contents"]
    roles = [turn["role"] for turn in turns]
    assert roles[0] == "user"
    assert all(a != b for a, b in itertools.pairwise(roles))
    texts = [turn.get("content") or turn["parts"][0]["text"] for turn in turns]
    assert all(text and text == text.strip() for text in texts)
    if messages and messages[0].role == "user":
        assert texts == ["A\n\nB"]
    else:
        assert texts[0] == OPENING


@each_provider
def test_a_reply_that_broke_off_is_gone_on_with(name: str) -> None:
    """What was shown stands as the character's words, and the model is told to go on."""
    sent = body(provider(name), shown="The night is long…")
    turns = sent.get("messages") or sent["contents"]
    texts = [turn.get("content") or turn["parts"][0]["text"] for turn in turns]
    assert texts[-2:] == ["The night is long…", GO_ON]


@each_provider
def test_extra_fields_are_merged_and_do_not_replace(name: str) -> None:
    """`extra_body` fills in what nothing else sets, down to the tables inside."""
    extra = {
        "openai": {"stream_options": {"include_obfuscation": False}, "temperature": 2},
        "anthropic": {"output_config": {"effort": "low"}, "temperature": 0.1},
        "gemini": {"generationConfig": {"topK": 3, "temperature": 2}, "safetySettings": []},
    }[name]
    sent = body(provider(name, extra_body=extra), sampling=Sampling(temperature=0.5), schema=CLOSED)
    assert (sent.get("generationConfig") or sent)["temperature"] == 0.5
    if name == "openai":
        wanted = {"include_usage": True, "include_obfuscation": False}
        assert sent["stream_options"] == wanted
    elif name == "anthropic":
        assert sent["output_config"]["effort"] == "low"
        assert sent["output_config"]["format"]["schema"] == CLOSED
    else:
        assert (sent["generationConfig"]["topK"], sent["safetySettings"]) == (3, [])


@pytest.mark.parametrize(
    ("url", "field", "name"),
    [
        (None, "auto", "max_completion_tokens"),
        ("https://api.openai.com", "auto", "max_completion_tokens"),
        ("https://api.openai.com.evil.example/v1", "auto", "max_tokens"),
        ("http://127.0.0.1:8000", "auto", "max_tokens"),
        ("http://127.0.0.1:8000", "max_completion_tokens", "max_completion_tokens"),
        (None, "max_tokens", "max_tokens"),
    ],
)
def test_the_longest_reply_has_the_name_the_server_knows(
    url: str | None, field: str, name: str
) -> None:
    """OpenAI's own server and the compatible ones disagree about a name."""
    one = provider("openai", url=url, max_tokens_field=field)
    sent = body(one, sampling=Sampling(max_tokens=40))
    assert {key for key in sent if "tokens" in key} == {name}
    other = body(one, (name,), sampling=Sampling(max_tokens=40))
    assert sum("tokens" in key for key in other) == 1
    assert name not in other


@each_provider
def test_thinking_has_room_beside_the_reply(name: str) -> None:
    """Tokens for thinking are added to the longest reply."""
    sent = body(provider(name, thinking_tokens=1000), sampling=Sampling(max_tokens=40))
    fields = sent.get("generationConfig") or sent
    limits = ("max_tokens", "max_completion_tokens", "maxOutputTokens")
    assert [fields[key] for key in limits if key in fields] == [1040]


def test_gemini_is_told_to_think_in_one_way() -> None:
    """A level in `extra_body` stands for the budget, which is then only room for the reply."""
    extra = {"generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}}}
    one = provider("gemini", thinking_tokens=100, extra_body=extra)
    config = body(one, sampling=Sampling(max_tokens=40))["generationConfig"]
    assert config == {"thinkingConfig": {"thinkingLevel": "LOW"}, "maxOutputTokens": 140}


@each_provider
def test_fields_can_be_left_out(name: str) -> None:
    """What is in `omit` is not sent."""
    omit = ("temperature", "top_p", "topP", "stop", "stop_sequences", "stopSequences", "seed")
    sent = body(provider(name), omit, sampling=ALL, seed=7)
    assert not set(omit) & set(sent.get("generationConfig") or sent)


def test_anthropic_takes_one_kind_of_sampling() -> None:
    """`top_p` is sent where there is no temperature, or the model refuses it."""
    one = provider("anthropic")
    assert body(one, sampling=Sampling(top_p=0.9))["top_p"] == 0.9
    assert "top_p" not in body(one, sampling=ALL)
    assert "temperature" not in body(one, ("temperature",), sampling=ALL)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
        {**CLOSED, "required": []},
        {**CLOSED, "properties": {"line": {"anyOf": [{"type": "object"}]}}},
    ],
    ids=["open", "optional", "open inside"],
)
def test_a_schema_that_openai_would_refuse_is_not_called_strict(schema: dict[str, Any]) -> None:
    """Strict mode is asked for where the schema allows it."""
    sent = body(provider("openai"), schema=schema)
    assert sent["response_format"]["json_schema"]["strict"] is False


@pytest.mark.parametrize(
    ("name", "url", "chat"),
    [
        ("openai", None, "https://api.openai.com/v1/chat/completions"),
        ("openai", "http://127.0.0.1:8000", "http://127.0.0.1:8000/v1/chat/completions"),
        ("openai", "http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1/chat/completions"),
        (
            "openai",
            "https://api.groq.com/openai/v1/",
            "https://api.groq.com/openai/v1/chat/completions",
        ),
        (
            "openai",
            "https://x.example/v1/chat/completions",
            "https://x.example/v1/chat/completions",
        ),
        ("anthropic", None, "https://api.anthropic.com/v1/messages"),
        ("anthropic", "https://x.example/anthropic/v1", "https://x.example/anthropic/v1/messages"),
        (
            "gemini",
            None,
            "https://generativelanguage.googleapis.com/v1beta/models/base:streamGenerateContent",
        ),
    ],
)
def test_addresses(name: str, url: str | None, chat: str) -> None:
    """An address may end with its version, its route, a slash, or nothing."""
    assert provider(name, url=url).chat_url().removesuffix("?alt=sse") == chat


def test_a_model_of_gemini_may_bring_its_collection() -> None:
    """`tunedModels/x` is asked for where it is, and nothing in a name leads elsewhere."""
    assert "/tunedModels/x:stream" in provider("gemini", model="tunedModels/x").chat_url()
    assert "%3Fkey" in provider("gemini", model="x?key").chat_url()


@each_provider
def test_lists_of_models_cost_nothing(name: str) -> None:
    """Models are listed with a GET beside the chat route."""
    assert "/models" in provider(name).list_url()


@pytest.mark.parametrize(
    ("sent", "name", "tokens"),
    [
        ({"object": "list", "data": [{"id": "a", "created": 1}]}, "a", None),
        ({"data": [{"id": "a", "context_length": 9, "pricing": {}}]}, "a", 9),
        ([{"id": "a", "context_length": 9, "created": 0}], "a", 9),
        ({"data": [{"id": "a", "max_context_length": 9}]}, "a", 9),
    ],
    ids=["OpenAI", "OpenRouter", "Together", "Mistral"],
)
def test_lists_of_compatible_servers(sent: Any, name: str, tokens: int | None) -> None:
    """The lists of compatible servers are read, and how much a model reads, where they tell."""
    (model,) = provider("openai").read_models(json.dumps(sent).encode())
    assert (model.name, model.context_tokens) == (name, tokens)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"provider": "else"}, id="unknown provider"),
        pytest.param({"url": "api.example/v1"}, id="no scheme"),
        pytest.param({"url": "https://user:key@api.example"}, id="key in the address"),
        pytest.param({"url": "https://api.example/v1?key=x"}, id="key in the query"),
        pytest.param({"extra_body": {"messages": []}}, id="ours"),
        pytest.param({"extra_body": {"stream": False}}, id="stream"),
        pytest.param({"extra_body": {"generationConfig": 5}}, id="no table"),
        pytest.param({"provider": "gemini", "max_tokens_field": "max_tokens"}, id="not openai"),
        pytest.param({"key_header": "x: y"}, id="header"),
        pytest.param({"api_key": "sk-1"}, id="key in the file"),
        pytest.param({"model": ""}, id="no model"),
    ],
)
def test_settings_that_cannot_be_meant(settings: dict[str, Any]) -> None:
    """A mistake in the table is an error before anything is served."""
    table = {"type": "cloud", "provider": "openai", "model": "base", **settings}
    with pytest.raises(ValidationError):
        CloudSettings.model_validate(table)


def test_the_provider_has_to_be_named() -> None:
    """A table without `provider` is an error: an untrusted world may not name one."""
    with pytest.raises(ValueError, match="provider"):
        CloudSettings.model_validate({"type": "cloud", "model": "base"})
