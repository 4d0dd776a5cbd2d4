"""The process pool: little work here, large work elsewhere, a dead worker replaced."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from tests.support.peers.process import wait_for

from estafeta.world.cpu import ProcessCpu

LARGE = b"x" * 100_000


def test_little_is_done_here_and_much_elsewhere() -> None:
    async def main() -> None:
        cpu = ProcessCpu()
        assert await cpu.run(os.getpid) == os.getpid()
        assert await cpu.run(len, LARGE) == len(LARGE)
        assert await cpu.run(bytes.count, LARGE, b"x") == len(LARGE)
        assert await cpu.apart(os.getpid) != os.getpid()
        with pytest.raises(ValueError, match="invalid literal"):
            await cpu.run(int, LARGE)
        # a worker that dies is replaced, the work tried once more, then the caller hears of it
        with pytest.raises(BrokenProcessPool):
            await cpu.run(exec, "import os; os._exit(9)".ljust(100_000))
        assert await cpu.run(len, LARGE) == len(LARGE)
        cpu.close()

    asyncio.run(main())


_KILLED = """
import asyncio, os, signal
from estafeta.world.cpu import ProcessCpu

async def main():
    print(await ProcessCpu().run(eval, "__import__('os').getpid()".ljust(100_000)), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_a_worker_does_not_outlive_who_started_it(tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(_KILLED)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    worker = Path(f"/proc/{int(done.stdout)}/stat")

    def gone() -> bool:
        try:
            return worker.read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    wait_for("the end of the worker", gone)
