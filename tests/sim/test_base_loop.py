"""The virtual loop: time jumps, order is kept, deadlocks are named."""

from __future__ import annotations

import asyncio
import time

import pytest

from estafeta.sim.loop import Deadlock, run


def test_days_pass_at_once() -> None:
    async def main() -> float:
        start = asyncio.get_running_loop().time()
        await asyncio.sleep(5 * 86400)
        return asyncio.get_running_loop().time() - start

    began = time.monotonic()
    assert run(main()) == 5 * 86400
    assert time.monotonic() - began < 1


def test_timers_of_one_moment_keep_their_order() -> None:
    async def main() -> list[int]:
        order: list[int] = []
        loop = asyncio.get_running_loop()
        for n in range(100):
            loop.call_at(5.0, order.append, n)
        await asyncio.sleep(6)
        return order

    assert run(main()) == list(range(100))


def test_timeouts_fire_in_virtual_time() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(300):
                await asyncio.get_running_loop().create_future()
        return asyncio.get_running_loop().time()

    assert run(main()) == 300


def test_cancelled_timers_do_not_move_the_clock() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        for n in range(500):
            loop.call_later(1000 + n, lambda: None).cancel()
        await asyncio.sleep(1)
        return loop.time()

    assert run(main()) == 1


def test_a_deadlock_says_who_waits_and_where() -> None:
    async def stuck() -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        await asyncio.create_task(stuck(), name="the stuck one")

    with pytest.raises(Deadlock, match=r"the stuck one[\s\S]*in stuck"):
        run(main())


def test_an_endless_retry_reaches_the_horizon() -> None:
    async def main() -> None:
        while True:
            await asyncio.sleep(60)

    with pytest.raises(Deadlock, match="3600"):
        run(main(), horizon=3600)


def test_an_executor_works_at_once_and_answers_later() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        done: list[int] = []
        future = loop.run_in_executor(None, done.append, 1)
        assert done == [1]
        assert not future.done()
        await future
        assert loop.time() > 0
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(None, lambda: 1 // 0)
        assert await asyncio.to_thread(sum, [1, 2]) == 3

    run(main())


def test_no_real_io() -> None:
    async def main() -> None:
        with pytest.raises(NotImplementedError):
            await asyncio.get_running_loop().create_connection(asyncio.Protocol, "127.0.0.1", 25)
        with pytest.raises(NotImplementedError):
            asyncio.get_running_loop().add_reader(0, lambda: None)

    run(main())
