"""What touches the queue's rows is shown over each engine of the store."""

from __future__ import annotations

import pytest
from tests.support import stores

MODULES = ("test_rows", "test_settle", "test_holders")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.module.__name__.rpartition(".")[2] in MODULES:
        metafunc.fixturenames.append("each_engine")
        metafunc.parametrize("each_engine", ["sqlite-inline", "postgresql"], indirect=True)


@pytest.fixture
def each_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "usual_engine", request.param)
