"""relay: step 5, one attempt to hand a message to another server, by SMTP or LMTP."""

from __future__ import annotations

from estafeta.relay.job import Job, Note, RelaySettings, Report
from estafeta.relay.limits import Timeouts
from estafeta.relay.relay import Relay

__all__ = ["Job", "Note", "Relay", "RelaySettings", "Report", "Timeouts"]
