"""The dialogue cache: what a model said once may be said again where the situation is the same."""

from palaver.cache.counts import CacheCounts
from palaver.cache.dialogue import DialogueCache
from palaver.cache.shelf import Variant

__all__ = ["CacheCounts", "DialogueCache", "Variant"]
