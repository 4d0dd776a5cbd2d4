"""What the tests of foreign programs wait with: ports, and patience."""

from __future__ import annotations

import time

import pytest
from tests.support.peers import process
from tests.support.peers.process import DidNotHappen, free_port, patience, wait_for


def test_a_port_is_not_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    first = free_port()
    # so few that the same one would be drawn again
    few = [port for port in process.PORTS if port != first][:30]
    monkeypatch.setattr(process, "PORTS", [first, *few])
    given = [free_port() for _ in range(10)]
    assert first not in given
    assert len(set(given)) == len(given)


def test_patience_shortens_and_ends() -> None:
    begun = time.monotonic()
    with patience(0.05), pytest.raises(DidNotHappen, match=r"never: not within 0\.05 s"):
        wait_for("never", lambda: None)
    assert time.monotonic() - begun < process.START_TIMEOUT_S / 2
    with pytest.raises(DidNotHappen, match=r"not within 0\.1 s"):
        wait_for("never", lambda: None, 0.1)
    assert wait_for("at once", lambda: 7) == 7
