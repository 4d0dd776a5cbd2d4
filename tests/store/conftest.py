"""Every test of the store runs over each engine, unless its module says `FILES_ALONE = True`."""

from __future__ import annotations

import pytest
from tests.support import stores


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if not getattr(metafunc.module, "FILES_ALONE", False):
        metafunc.fixturenames.append("each_engine")
        metafunc.parametrize("each_engine", ["sqlite-inline", "postgresql"], indirect=True)


@pytest.fixture
def each_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(stores, "usual_engine", request.param)
    return str(request.param)
