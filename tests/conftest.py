"""For all tests: how Hypothesis runs here."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Machines are shared and slow at times: neither an example's time nor a generator's is a finding.
settings.register_profile(
    "estafeta",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("estafeta")
