"""The suite that every backend has to pass, in the tree or not.

    from palaver.testing.contract import BackendContract, BackendLab, Case

    class MyLab(BackendLab):
        async def make(self): ...
        async def whole(self): ...

    class TestContract(BackendContract):
        can = ABILITIES - {"split"}

        @pytest.fixture
        async def lab(self):
            async with my_server() as server:
                yield MyLab(server)

A lab brings about what a test needs: a reply that is whole, one that never ends, one that fails
in a certain way. What it cannot bring about the class leaves out of `can`, and pytest deselects
the tests that need it. `lab.facts` records what was seen, so that a fake and the real thing
can be compared.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import ClassVar

import pytest

from palaver.chain.backend import Health, ModelInfo, Sampling
from palaver.errors import BackendError, BackendOverloaded, BackendRefused, BackendTimeout
from palaver.testing import UNIT_S
from palaver.testing.contract_lab import (
    ABILITIES,
    FAILURES,
    IN_STREAM,
    LIMIT_S,
    TRIES,
    BackendLab,
    Case,
    ask,
    cancelled,
    nothing_left,
    seen_running,
    until_running,
)
from palaver.testing.turns import make_request

__all__ = ["ABILITIES", "BackendContract", "BackendLab", "Case"]


@pytest.mark.asyncio
class BackendContract:
    """What every backend promises; give it a fixture `lab`.

    Attributes:
        can: What the lab can bring about, see `ABILITIES`.
    """

    can: ClassVar[frozenset[str]] = ABILITIES

    @pytest.fixture
    def lab(self) -> BackendLab:
        """The lab of the backend under test, with its server running; override it."""
        raise NotImplementedError("override the fixture `lab`")

    async def test_a_reply_is_text_and_a_finish(self, lab: BackendLab) -> None:
        """A whole reply is pieces of text, then one Finish."""
        said = await ask(await lab.whole())
        assert said.text.strip()
        if said.finish is not None:
            assert said.finish.reason in ("stop", "length")
            lab.facts["finish"] = (
                said.finish.reason,
                said.finish.model is not None,
                said.finish.adapter,
                said.finish.note,
            )

    @pytest.mark.contract_needs("script")
    async def test_text_is_whole_and_in_order(self, lab: BackendLab) -> None:
        """Every token arrives once, in order, spaces and line breaks as they were."""
        tokens = [f" {number}\n" if number % 7 == 0 else f" {number}" for number in range(200)]
        said = await ask(await lab.saying(tokens))
        assert said.text == "".join(tokens)

    @pytest.mark.contract_needs("script", "stream")
    async def test_what_comes_together_is_one_piece(self, lab: BackendLab) -> None:
        """Tokens that arrive at once are not handed on one by one."""
        tokens = [f" {number}" for number in range(60)]
        said = await ask(await lab.saying(tokens, together=20))
        assert said.text == "".join(tokens)
        assert len(said.pieces) <= 20

    @pytest.mark.contract_needs("script", "split")
    @pytest.mark.parametrize("split_bytes", [1, 2, 3, 7])
    async def test_characters_may_be_split(self, lab: BackendLab, split_bytes: int) -> None:
        """A character whose bytes arrive one by one is whole."""
        tokens = ["Blut", " — ", "血", "🩸", " é\u0301", " 👩‍👩‍👧", '"', "\\", "\u2028"]
        said = await ask(await lab.saying(tokens, split_bytes=split_bytes))
        assert said.text == "".join(tokens)

    @pytest.mark.contract_needs("length")
    async def test_max_tokens_cuts(self, lab: BackendLab) -> None:
        """A reply that is cut at `max_tokens` says so."""
        case = await lab.endless()
        request = make_request(sampling=Sampling(max_tokens=3))
        said = await ask(Case(case.backend, request))
        assert said.finish is not None
        assert said.finish.reason == "length"

    @pytest.mark.contract_needs("usage")
    async def test_tokens_are_counted(self, lab: BackendLab) -> None:
        """The Finish tells how many tokens were read and written."""
        said = await ask(await lab.whole())
        assert said.finish is not None
        assert said.finish.prompt_tokens
        assert said.finish.completion_tokens
        assert said.finish.model

    @pytest.mark.contract_needs("endless", "running")
    async def test_closing_the_generator_aborts(self, lab: BackendLab) -> None:
        """Leaving a reply early ends its generation at the server."""
        for _ in range(TRIES):
            case = await lab.endless()
            async with aclosing(case.generate()) as stream:
                if await seen_running(lab, stream):
                    break
        else:
            pytest.fail("the server never said that it runs a generation of which text came")
        await until_running(lab, 0)

    @pytest.mark.contract_needs("endless", "running")
    async def test_cancelling_aborts(self, lab: BackendLab) -> None:
        """Cancelling the task that reads ends the generation, and the cancellation goes on."""
        case = await lab.endless()
        begun = asyncio.Event()

        async def read() -> None:
            async with aclosing(case.generate()) as stream:
                async for _ in stream:
                    begun.set()

        await cancelled(read(), begun.wait())
        await until_running(lab, 0)

    @pytest.mark.contract_needs("silent", "running")
    async def test_waiting_for_the_first_token_can_be_cancelled(self, lab: BackendLab) -> None:
        """A reply that has not begun is given up at once, down to the server."""
        case = await lab.silent()
        await cancelled(ask(case), until_running(lab, 1))
        await until_running(lab, 0)

    @pytest.mark.contract_needs("silent", "deadline", "running")
    async def test_the_deadline_ends_it(self, lab: BackendLab) -> None:
        """After the request's deadline the wait is over, and the generation too."""
        case = await lab.silent()
        deadline = asyncio.get_running_loop().time() + 10 * UNIT_S
        request = make_request(deadline=deadline)
        with pytest.raises(BackendTimeout) as caught:
            await ask(Case(case.backend, request))
        assert caught.value.phase == "total"
        await until_running(lab, 0)

    @pytest.mark.contract_needs("endless", "deadline", "running")
    async def test_the_deadline_ends_a_stream(self, lab: BackendLab) -> None:
        """After the request's deadline a reply in the middle ends with a time-out."""
        case = await lab.endless()
        deadline = asyncio.get_running_loop().time() + 20 * UNIT_S
        request = make_request(deadline=deadline, sampling=case.request.sampling)
        with pytest.raises(BackendTimeout):
            await ask(Case(case.backend, request))
        await until_running(lab, 0)

    @pytest.mark.contract_needs
    @pytest.mark.parametrize("how", FAILURES)
    async def test_failures_have_their_own_errors(self, lab: BackendLab, how: str) -> None:
        """Every failure is the `BackendError` it should be, and says something."""
        case = await lab.failing(how)
        with pytest.raises(BackendError) as caught:
            await ask(case)
        error = caught.value
        assert isinstance(error, FAILURES[how])
        assert error.backend == case.backend.name
        assert error.reason
        if how == "overloaded":
            assert isinstance(error, BackendOverloaded)
            assert error.retry_after_s == 7
        status = error.status_code if isinstance(error, BackendRefused) else None
        lab.facts[f"failure: {how}"] = (type(error).__name__, status)

    @pytest.mark.contract_needs
    @pytest.mark.parametrize("how", IN_STREAM)
    async def test_text_before_a_failure_counts(self, lab: BackendLab, how: str) -> None:
        """What was said before a stream failed was handed on."""
        case = await lab.failing(how)
        pieces: list[str] = []
        with pytest.raises(BackendError):  # noqa: PT012  # the loop is what raises
            async with asyncio.timeout(LIMIT_S), aclosing(case.generate()) as stream:
                async for piece in stream:
                    pieces.append(str(piece))  # noqa: PERF401  # the loop raises
        assert "".join(pieces).strip()

    async def test_a_failure_harms_nobody_else(self, lab: BackendLab) -> None:
        """After a reply that was left early the backend serves the next one."""
        case = await lab.whole()
        async with aclosing(case.generate()) as stream:
            await anext(stream)
        assert (await ask(await lab.whole())).text.strip()

    async def test_says_how_it_is(self, lab: BackendLab) -> None:
        """A backend that can serve is healthy, and says so in a line."""
        case = await lab.whole()
        async with asyncio.timeout(LIMIT_S):
            health = await case.backend.health()
        assert isinstance(health, Health)
        assert health.ok, health.detail
        assert health.detail

    @pytest.mark.contract_needs("gone")
    async def test_says_that_it_is_away(self, lab: BackendLab) -> None:
        """A backend whose server is away starts all the same, and says that it is not well."""
        case = await lab.failing("gone")
        async with asyncio.timeout(LIMIT_S):
            await case.backend.start()
            health = await case.backend.health()
        assert not health.ok
        assert health.detail

    @pytest.mark.contract_needs("models")
    async def test_lists_its_models(self, lab: BackendLab) -> None:
        """The models it lists have names, and the base model a context window."""
        case = await lab.whole()
        async with asyncio.timeout(LIMIT_S):
            models = await case.backend.models()
        assert models
        for model in models:
            assert type(model) is ModelInfo
            assert model.name
        base = next(model for model in models if model.base is None)
        assert base.context_tokens
        assert case.backend.settings.context_tokens

    async def test_can_be_closed_twice(self, lab: BackendLab) -> None:
        """Closing a backend again, or one that never started, is harmless."""
        backend = await lab.make()
        await backend.close()
        other = await lab.make()
        async with asyncio.timeout(LIMIT_S):
            await other.start()
            await other.close()
            await other.close()

    async def test_streams_run_side_by_side(self, lab: BackendLab) -> None:
        """Several replies can be made at the same time."""
        cases = [await lab.whole() for _ in range(4)]
        replies = await asyncio.gather(*map(ask, cases))
        assert all(said.text.strip() for said in replies)

    @pytest.mark.contract_needs("echo")
    async def test_streams_do_not_mix(self, lab: BackendLab) -> None:
        """Replies that are made at the same time stay apart."""
        backend = await lab.echoing()
        wanted = [" ".join([word] * 30) for word in ("ash", "bone", "crypt", "dusk")]
        cases = [Case(backend, make_request(text, sampling=Sampling())) for text in wanted]
        replies = await asyncio.gather(*map(ask, cases))
        assert [said.text for said in replies] == wanted

    async def test_leaves_nothing_behind(self, lab: BackendLab) -> None:
        """A closed backend has no task and no socket left, whatever happened before."""
        request = (await lab.whole()).request
        async with nothing_left():
            backend = await lab.make()
            await backend.start()
            await ask(Case(backend, request))
            async with aclosing(backend.generate(request)) as stream:
                await anext(stream)
            await backend.close()
