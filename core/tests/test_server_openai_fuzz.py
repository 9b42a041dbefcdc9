"""Whatever a client of OpenAI's API sends is understood, or refused with a reason."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from palaver.server.openai_errors import ApiError
from palaver.server.openai_request import ChatRequest, messages_of, parse_chat

FIELDS = [*ChatRequest.model_fields, "unknown"]
ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["user", "system", "text", "npc/vlad", "client"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "game", "history"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
CONTENT = (
    ANY
    | st.text(max_size=30)
    | st.lists(
        st.fixed_dictionaries({"type": st.sampled_from(["text", "refusal", "image_url"])})
        | st.fixed_dictionaries({"type": st.just("text"), "text": st.text(max_size=9)}),
        max_size=3,
    )
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", "tool"]) | ANY, "content": CONTENT}
    ),
    max_size=4,
)


def understand(body: Any) -> None:
    """Read a body as the server does; anything but an `ApiError` is a bug."""
    try:
        chat = parse_chat(json.dumps(body).encode("utf-8", "surrogatepass"))
    except ApiError as err:
        check(err)
        return
    for lenient in (True, False):
        try:
            found = messages_of(chat, lenient=lenient)
        except ApiError as err:
            check(err)
        else:
            assert any(one.role == "user" for one in found)
            assert all(isinstance(one.content, str) for one in found)


def check(err: ApiError) -> None:
    """A refusal is short, names a field, and shows nothing of pydantic."""
    assert err.status == 400
    assert 0 < len(err.message) < 500
    assert "pydantic" not in err.message
    assert err.param is None or len(err.param) <= 128


@given(ANY)
def test_any_json(body: Any) -> None:
    """Anything at all as a body."""
    understand(body)


@given(st.dictionaries(st.sampled_from(FIELDS), ANY, max_size=5), MESSAGES)
def test_any_field(fields: dict[str, Any], messages: list[dict[str, Any]]) -> None:
    """Anything at all in a field of a body that is right otherwise."""
    understand({"model": "npc/vlad", "messages": messages, **fields})
