"""The life of the service: order, readiness, signals, deadline."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest

from estafeta.office.service import Service


class Part:
    """A component that writes down what happens to it."""

    def __init__(self, name: str, said: list[str], **how: object) -> None:
        self.name = name
        self.said = said
        self.how = how

    async def start(self) -> None:
        self.said.append(f"start {self.name}")
        if self.how.get("fails"):
            raise OSError(98, "Address already in use")

    async def drain(self) -> None:
        self.said.append(f"drain {self.name}")
        if self.how.get("drain_fails"):
            raise ValueError("no")

    async def stop(self) -> None:
        if self.how.get("hangs"):
            try:
                await asyncio.Event().wait()
            finally:
                self.said.append(f"cut {self.name}")
        self.said.append(f"stop {self.name}")

    async def reload(self) -> None:
        self.said.append(f"reload {self.name}")


def test_start_in_order_stop_in_reverse_after_draining_all() -> None:
    said: list[str] = []

    async def main() -> None:
        service = Service(
            [Part("a", said), Part("b", said)], after_start=lambda: said.append("dropped")
        )
        running = asyncio.create_task(service.run())
        await service.ready.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await running

    asyncio.run(main())
    assert said == [
        "start a",
        "start b",
        "dropped",
        "drain a",
        "drain b",
        "stop b",
        "stop a",
    ]


def test_what_cannot_start_ends_it_and_stops_those_before() -> None:
    said: list[str] = []

    async def main() -> None:
        await Service([Part("a", said), Part("b", said, fails=True), Part("c", said)]).run()

    with pytest.raises(OSError, match="in use"):
        asyncio.run(main())
    assert "start c" not in said
    assert said[-1] == "stop a"


def test_reload_reaches_every_part_unless_the_settings_are_wrong() -> None:
    said: list[str] = []
    answers = iter([ValueError("line 3"), None])

    def reload() -> None:
        answer = next(answers)
        said.append(f"read {answer}")
        if answer:
            raise answer

    async def main() -> None:
        service = Service([Part("a", said)], reload=reload)
        running = asyncio.create_task(service.run())
        await service.ready.wait()
        os.kill(os.getpid(), signal.SIGHUP)
        while "read line 3" not in said:
            await asyncio.sleep(0)
        assert "reload a" not in said
        os.kill(os.getpid(), signal.SIGHUP)
        while "reload a" not in said:
            await asyncio.sleep(0)
        service.stop.ask()
        await running

    asyncio.run(main())


def test_a_part_that_hangs_is_cut_at_the_deadline_and_the_others_still_stop() -> None:
    said: list[str] = []

    async def main() -> None:
        parts = [Part("store", said), Part("smtp", said, hangs=True, drain_fails=True)]
        service = Service(parts, stop_seconds=0.05)
        running = asyncio.create_task(service.run())
        await service.ready.wait()
        service.stop.ask()
        await running

    asyncio.run(main())
    assert said[-2:] == ["cut smtp", "stop store"]


def test_a_second_signal_does_not_wait() -> None:
    said: list[str] = []

    async def main() -> None:
        service = Service([Part("smtp", said, hangs=True)], stop_seconds=3600)
        running = asyncio.create_task(service.run())
        await service.ready.wait()
        os.kill(os.getpid(), signal.SIGINT)
        while "drain smtp" not in said:
            await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.wait_for(running, 5)

    asyncio.run(main())
    assert said[-1] == "cut smtp"


def test_ready_is_told_to_a_descriptor_and_to_systemd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        reading, writing = os.pipe()

        async def main() -> None:
            service = Service([Part("a", said)], ready_fd=writing)
            running = asyncio.create_task(service.run())
            await service.ready.wait()
            service.stop.ask()
            await running

        asyncio.run(main())
        assert os.read(reading, 100) == b"ready\n"
        assert os.read(reading, 100) == b""
        os.close(reading)
        assert systemd.recv(100).split(b"\n")[0] == b"READY=1"
        assert systemd.recv(100).split(b"\n")[:2] == [
            b"STOPPING=1",
            b"EXTEND_TIMEOUT_USEC=40000000",
        ]
