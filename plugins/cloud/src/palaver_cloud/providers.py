"""The providers by the names that `provider` has."""

from __future__ import annotations

from palaver_cloud.anthropic_wire import Anthropic
from palaver_cloud.gemini_wire import Gemini
from palaver_cloud.openai_wire import OpenAI
from palaver_cloud.provider import Provider

__all__ = ["PROVIDERS"]

PROVIDERS: dict[str, type[Provider]] = {
    "openai": OpenAI,
    "anthropic": Anthropic,
    "gemini": Gemini,
}
