"""each engine: tests that run over each engine of the store in turn.

A folder's conftest.py calls `over_each_engine` for the modules it means, and imports the fixture.
"""

from __future__ import annotations

import pytest
from tests.support import stores


def over_each_engine(metafunc: pytest.Metafunc) -> None:
    """Has a test run twice; what opens the usual store opens one of each engine."""
    metafunc.fixturenames.append("each_engine")
    metafunc.parametrize("each_engine", ["sqlite-inline", "postgresql"], indirect=True)


def is_one_of(metafunc: pytest.Metafunc, modules: tuple[str, ...]) -> bool:
    return metafunc.module.__name__.rpartition(".")[2] in modules


@pytest.fixture
def each_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(stores, "usual_engine", request.param)
    return str(request.param)
