import pytest
from pydantic import ValidationError

from palaver_vllm.config import VllmSettings


def settings(**fields: object) -> VllmSettings:
    """Return settings of a table."""
    return VllmSettings.model_validate({"type": "vllm", **fields})


def test_has_a_default_address() -> None:
    """Without an address it is where `vllm serve` listens."""
    assert settings().addresses == ["http://127.0.0.1:8000"]


def test_takes_addresses_as_people_write_them() -> None:
    """A slash or `/v1` at the end changes nothing, and doubles are one server."""
    urls = ["http://a:8000/", "http://a:8000/v1", "https://b/llm"]
    assert settings(urls=urls).addresses == ["http://a:8000", "https://b/llm"]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        pytest.param({"url": "localhost:8000"}, "write an address such as", id="no scheme"),
        pytest.param({"url": "http://me:secret@a"}, "api_key_env", id="key in the address"),
        pytest.param({"url": "http://a", "urls": ["http://b"]}, "either `url` or", id="both"),
        pytest.param({"extra_body": {"guided_json": {}}}, "structured_outputs", id="guided"),
        pytest.param({"extra_body": {"stream": False}}, "set by Palaver", id="ours"),
        pytest.param({"modle": "x"}, "Extra inputs", id="typo"),
        pytest.param({"serve": {"model": "m", "dtype": "x y"}}, "dtype", id="odd dtype"),
    ],
)
def test_refuses_what_cannot_be_meant(fields: dict[str, object], says: str) -> None:
    """A setting that cannot work is refused, with what to write instead."""
    with pytest.raises(ValidationError, match=says):
        settings(**fields)
