"""For all tests: how Hypothesis runs here, and over what a store's tests run."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# Machines are shared and slow at times: neither an example's time nor a generator's is a finding.
settings.register_profile(
    "estafeta",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("estafeta")


@pytest.fixture(params=["sqlite-inline", "postgresql"])
def each_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Who uses it runs over each engine of the store; what opens the usual one opens that."""
    from tests.support import stores  # dear to import, and not for all

    monkeypatch.setattr(stores, "usual_engine", request.param)
    return str(request.param)
