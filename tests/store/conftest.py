"""Every test of the store runs over each engine, unless its module says `FILES_ALONE = True`."""

from __future__ import annotations

import pytest
from tests.support.each_engine import each_engine, over_each_engine

__all__ = ["each_engine"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if not getattr(metafunc.module, "FILES_ALONE", False):
        over_each_engine(metafunc)
