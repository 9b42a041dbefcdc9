"""The test kit: what plugins and bridges are tested with, in this project and outside it.

- `palaver.testing.scripted`: a backend inside the process that plays a script.
- `palaver.testing.fake_vllm`: a model server with vLLM's manners and every way to misbehave.
- `palaver.testing.faults`: a model server on a real socket that misbehaves down to the byte.
- `palaver.testing.clock`: an event loop with a time of its own, for waits that take no time.
- `palaver.testing.chains`: a chain of scripted backends, without a gateway around it.
- `palaver.testing.fake_ollama`: the same for Ollama.
- `palaver.testing.fake_engine`: an engine that plays a script over the wire.
- `palaver.testing.server`: a small world and the real server on a free port.
- `palaver.testing.transcripts`: reads the transcripts of `tests/wire`.
- `palaver.testing.contract`: the suite that every backend has to pass.

Installing `palaver[testing]` makes the fixtures of `palaver.testing.pytest_plugin` available.
Nothing heavy is imported here, so that a test run that uses none of it does not pay for it.
"""

from __future__ import annotations

import os

__all__ = ["UNIT_S"]

UNIT_S = float(os.environ.get("PALAVER_TEST_UNIT_MS", "10")) / 1000
"""Seconds in one unit of test time; every delay in tests is a multiple of it.

A slow machine sets `PALAVER_TEST_UNIT_MS` higher and all limits grow together.
"""
