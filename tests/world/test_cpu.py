"""The process pool: little work here, large work elsewhere, a dead worker replaced."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures.process import BrokenProcessPool

import pytest

from estafeta.world.cpu import ProcessCpu

LARGE = b"x" * 100_000


def test_little_is_done_here_and_much_elsewhere() -> None:
    async def main() -> None:
        cpu = ProcessCpu()
        assert await cpu.run(os.getpid) == os.getpid()
        assert await cpu.run(len, LARGE) == len(LARGE)
        assert await cpu.run(bytes.count, LARGE, b"x") == len(LARGE)
        with pytest.raises(ValueError, match="invalid literal"):
            await cpu.run(int, LARGE)
        # a worker that dies is replaced, the work tried once more, then the caller hears of it
        with pytest.raises(BrokenProcessPool):
            await cpu.run(exec, "import os; os._exit(9)".ljust(100_000))
        assert await cpu.run(len, LARGE) == len(LARGE)
        cpu.close()

    asyncio.run(main())
