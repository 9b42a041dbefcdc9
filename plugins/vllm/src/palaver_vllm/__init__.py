"""A backend that streams from vLLM model servers."""

__version__ = "0.1.0"
