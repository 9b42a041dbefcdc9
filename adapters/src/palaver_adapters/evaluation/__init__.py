"""Measures of what an adapter does to a reply."""

from palaver_adapters.evaluation.voice import VoiceClassifier

__all__ = ["VoiceClassifier"]
