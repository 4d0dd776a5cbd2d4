"""What is accepted is shown over each engine of the store."""

from __future__ import annotations

import pytest
from tests.support.each_engine import each_engine, is_one_of, over_each_engine

__all__ = ["each_engine"]

MODULES = ("test_prepared", "test_server")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if is_one_of(metafunc, MODULES):
        over_each_engine(metafunc)
