"""Limits of the office: what running the system may take at most. Shown in docs/limits.md."""

from __future__ import annotations

CONFIG_OCTETS_MAX = 4 * 1024 * 1024
"""A configuration file larger than this is refused, octets."""

LABEL_VALUES_MAX = 100
"""Combinations of label values one metric keeps; what comes later counts as "other"."""

STOP_SECONDS_MAX = 30.0
"""A clean stop waits so long for what has begun, seconds."""

CERTIFICATE_POLL_SECONDS = 3.0
"""Certificates, keys and authorities that were written anew are seen after, seconds."""

CERTIFICATE_WARN_SECONDS = 86_400.0
"""A certificate that ends soon is warned of once in, seconds."""

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

EXPLAIN_OCTETS_MAX = 64 * 1024 * 1024
"""A message that `estafeta explain` takes, octets."""

PASSWORD_CHARACTERS_MAX = 1024
"""Characters read from a `password_file`."""

WORKERS_MAX = 64
"""Worker processes of one service."""

CREW_MESSAGE_OCTETS_MAX = 64 * 1024 * 1024
"""One message between the supervisor and a worker, octets: settings, or a metrics page."""

GATHER_SECONDS_MAX = 2.5
"""For /metrics and /healthz the workers are given so long to answer, seconds."""

WORKER_STEADY_SECONDS = 1.0
"""A worker that has not served for so long when it dies counts as one that cannot live, seconds."""

WORKER_PAUSES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Before a worker is started anew when it died young the first time, the second …, seconds. When it
dies young once more, the service gives up."""

WORKER_END_SECONDS_MAX = 5.0
"""Beyond `stop_seconds` a worker has so long to end before it is killed, seconds."""

ORPHAN_STOP_SECONDS = 5.0
"""Workers whose supervisor was killed wait so long for what has begun, seconds."""

TENURE_WAIT_SECONDS = 15.0
"""A start waits so long for the workers of a service whose supervisor was killed, seconds."""

OBJECTS_CHECK_SECONDS = 10.0
"""`estafeta config check` waits at most so long for the object store."""

STOPPED_LOOK_SECONDS = 30.0
"""Accounts that another worker stopped and could not tell of are looked for so often, seconds."""

SELF_CHECK_LOOK_SECONDS = 30.0
"""Mail that is held for a fault of our own set-up is looked after every so many seconds."""

SELF_CHECK_TERM_SECONDS = 600.0
"""A worker that looks after it and died is waited for so long, seconds."""

SELF_CHECK_SECONDS_MAX = 30.0
"""A handshake with our own listener may take so long, seconds."""
