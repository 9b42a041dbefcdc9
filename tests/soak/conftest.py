"""What long tests share: how long they run, their dice, and what must not happen meanwhile.

Run them with `tox -e soak`, or `PALAVER_TEST_SOAK_S=600 pytest --timeout=0 tests/soak`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

WAIT_S = 60.0
"""Longest wait for what must come to its end by itself, in seconds."""


@pytest.fixture
def soak_s() -> float:
    """How long each test runs, in seconds: `PALAVER_TEST_SOAK_S`, two minutes by default."""
    return float(os.environ.get("PALAVER_TEST_SOAK_S", "120"))


@pytest.fixture
def dice(capsys: pytest.CaptureFixture[str]) -> random.Random:
    """Seeded by `PALAVER_TEST_SOAK_SEED`, or anew; the seed is printed."""
    seed = int(os.environ.get("PALAVER_TEST_SOAK_SEED") or random.SystemRandom().randrange(2**32))
    with capsys.disabled():
        sys.stdout.write(f"\nPALAVER_TEST_SOAK_SEED={seed}\n")
        sys.stdout.flush()
    return random.Random(seed)


class _Errors(logging.Handler):
    """Keeps errors, which in a log of hours nobody would find."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.texts) < 20:
            self.texts.append(logging.Formatter().format(record))


@contextmanager
def _logged_errors() -> Iterator[list[str]]:
    errors = _Errors()
    loggers = [logging.getLogger(name) for name in ("palaver", "asyncio")]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(errors)
        logger.setLevel(logging.ERROR)
        logger.propagate = False
    try:
        yield errors.texts
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(errors)
            logger.setLevel(level)
            logger.propagate = propagate


@pytest.fixture
def logged_errors() -> Callable[[], AbstractContextManager[list[str]]]:
    """Collects the errors that Palaver and asyncio log, to be used with `with`.

    They go nowhere else. pytest keeps every record of a test, and with its traceback all the
    objects it names; in hours that would be all the memory. It looks for loggers that keep their
    records to themselves before each test, so this has to begin inside the test.
    """
    return _logged_errors


@pytest.fixture
def settles() -> Callable[..., object]:
    """Waits until a number is down to what it may be, and says what it was if it never is."""

    async def wait(what: str, number: Callable[[], int], at_most: int) -> None:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + WAIT_S
        while (found := number()) > at_most:
            assert loop.time() < ends_at, f"{found} {what} are left, at most {at_most} may be"
            await asyncio.sleep(0.05)

    return wait
