"""Limits of the office: what running the system may take at most. Shown in docs/limits.md."""

from __future__ import annotations

CONFIG_OCTETS_MAX = 4 * 1024 * 1024
"""A configuration file larger than this is refused, octets."""

LABEL_VALUES_MAX = 100
"""Combinations of label values one metric keeps; what comes later counts as "other"."""

STOP_SECONDS_MAX = 30.0
"""A clean stop waits so long for what has begun, seconds."""

HEALTH_SECONDS_MAX = 2.0
"""/healthz gives the store so long to answer a read, seconds."""

HEALTH_PAGE_OCTETS_MAX = 64 * 1024
"""Of /healthz `estafeta health` reads so much, octets."""

HTTP_CONNECTIONS_MAX = 1000
"""Open HTTP connections; the next one gets 503."""

HTTP_KEEP_ALIVE_SECONDS = 5
"""An idle HTTP connection is closed after, seconds."""

TRACE_MESSAGES_MAX = 50
"""Messages `estafeta trace` looks up for one address or Message-ID."""

PASSWORD_CHARACTERS_MAX = 1024
"""Characters read from a `password_file`."""
