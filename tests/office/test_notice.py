"""What the service manager is told, and that nobody listening is no trouble."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from estafeta.office import notice


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listening


def test_nobody_to_notify_is_no_error(
    monkeypatch: pytest.MonkeyPatch, systemd: socket.socket
) -> None:
    for where in ("", "/nonexistent/socket", "@nobody-of-that-name", "x" * 300):
        monkeypatch.setenv("NOTIFY_SOCKET", where)
        notice.notify("READY=1")


def test_an_abstract_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"estafeta-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        notice.ready()
        assert listening.recv(100) == b"READY=1\nSTATUS=Serving"


def test_a_reload_carries_its_time(systemd: socket.socket) -> None:
    notice.reloading()
    notice.reloading()
    times = [int(systemd.recv(100).split(b"\n")[1].split(b"=")[1]) for _ in range(2)]
    assert times[0] <= times[1]
    with open("/proc/uptime") as uptime:
        assert abs(times[1] / 1e6 - float(uptime.read().split()[0])) < 60


@pytest.mark.parametrize(
    ("interval", "whose", "seconds"),
    [
        ("20000000", "", 20.0),
        ("20000000", "own", 20.0),
        ("20000000", "1", None),
        ("0", "", None),
        ("", "", None),
        ("soon", "", None),
    ],
)
def test_whether_we_are_watched(
    monkeypatch: pytest.MonkeyPatch, interval: str, whose: str, seconds: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", interval)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if whose == "own" else whose)
    assert notice.watchdog_seconds() == seconds


def test_the_watchdog_hears_of_us_and_not_when_the_loop_stands(
    monkeypatch: pytest.MonkeyPatch, systemd: socket.socket
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)

    async def main() -> None:
        watched = asyncio.create_task(notice.keep_watchdog())
        await asyncio.sleep(0)
        for _ in range(3):
            assert await asyncio.to_thread(systemd.recv, 100) == b"WATCHDOG=1"
        systemd.settimeout(0.1)
        with pytest.raises(TimeoutError):
            list(iter(lambda: systemd.recv(100), b""))  # on the loop: it stands
        watched.cancel()

    asyncio.run(main())
