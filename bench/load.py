"""load: Postfix's own generator and sink, unpacked and run beside whichever side is measured.

Neither speaks TLS or AUTH; both are C and cost little beside what they measure.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.peers.packages import Peers
from tests.support.peers.process import LOOPBACK, DidNotHappen, Running, free_port

from bench.measure import Load

SOURCE_TIMEOUT_S = 300

SENDER = "sender@client.example"

# How many pending connections the sink lets wait.
SINK_BACKLOG = 1024

_COUNT = re.compile(rb"mesg=(\d+)")


def send(peers: Peers, address: tuple[str, int], recipient: str, load: Load, messages: int) -> None:
    """Sends messages with smtp-source, connections kept, and returns when the last is answered.

    Raises: DidNotHappen, with its words, if a message was refused.
    """
    command = [
        str(peers.program("smtp-source")),
        *("-d", "-s", str(min(load.sessions, messages)), "-m", str(messages)),
        *("-l", str(load.size), "-M", "client.example", "-f", SENDER, "-t", recipient),
        f"{address[0]}:{address[1]}",
    ]
    done = subprocess.run(
        command,
        env=peers.environment("/"),
        capture_output=True,
        text=True,
        timeout=SOURCE_TIMEOUT_S,
    )
    if done.returncode or done.stderr:
        raise DidNotHappen(f"smtp-source ended with {done.returncode}: {done.stderr[-2000:]}")


class Sink:
    """smtp-sink, which takes everything and keeps nothing; counts messages."""

    def __init__(self, peers: Peers, folder: Path) -> None:
        self.peers = peers
        self.host = LOOPBACK
        self.port = free_port()
        self._folder = folder
        self._output = folder / "sink"
        self._running: Running | None = None

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        command: list[str | Path] = [self.peers.program("smtp-sink"), "-c", "-h", "sink.example"]
        if os.geteuid() == 0:
            command += ["-u", "nobody"]  # it refuses to stay root
        command += [f"{self.host}:{self.port}", str(SINK_BACKLOG)]
        environment = self.peers.environment(self._folder)
        self._running = Running(command, self._output, environment)
        try:
            self._running.wait_listening(self.host, [self.port])
        except BaseException:
            self._running.stop()
            raise
        return self

    def count(self) -> int:
        """Messages taken since it started."""
        with self._output.open("rb") as file:
            file.seek(max(0, self._output.stat().st_size - 400))
            counts = _COUNT.findall(file.read())
        return int(counts[-1]) if counts else 0

    @property
    def session(self) -> int:
        """The session of its process."""
        assert self._running is not None, "it is not running"
        return self._running.pid

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._running:
            self._running.stop()
