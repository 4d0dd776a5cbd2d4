"""Metrics catalogue: every metric, its kind, its labels and what it counts.

Rooms name them by string through `mail.protocols.Meter`; a name that is not here is an error in
tests. docs/metrics.md is made from this.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["counter", "gauge", "histogram"]


class Metric(msgspec.Struct, frozen=True):
    """One metric. Names of counters end in _total, of times in _seconds, of sizes in _octets."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_FAST = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
_SLOW = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_COUNTS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
_OCTETS = (1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 10485760.0, 52428800.0)

CATALOGUE: tuple[Metric, ...] = (
    # Taking mail in
    Metric(
        "estafeta_smtp_sessions_total",
        "counter",
        "SMTP and LMTP sessions begun. role: mx, submission, lmtp.",
        ("role",),
    ),
    Metric("estafeta_smtp_sessions", "gauge", "SMTP and LMTP sessions open now.", ("role",)),
    Metric(
        "estafeta_replies_total",
        "counter",
        "Replies we gave in SMTP and LMTP, by reply code.",
        ("code",),
    ),
    Metric(
        "estafeta_messages_accepted_total",
        "counter",
        "Messages we took responsibility for. origin: as in the ledger.",
        ("origin",),
    ),
    Metric(
        "estafeta_accept_seconds",
        "histogram",
        "From the end of a message to our answer.",
        ("role",),
        _FAST,
    ),
    Metric(
        "estafeta_message_octets", "histogram", "Size of accepted messages.", ("origin",), _OCTETS
    ),
    Metric(
        "estafeta_recipients_total",
        "counter",
        "Recipients that came to their end. fate: as in the ledger.",
        ("fate",),
    ),
    Metric(
        "estafeta_tls_handshakes_total",
        "counter",
        "TLS handshakes of our listeners. result: ok, failed.",
        ("protocol", "result"),
    ),
    Metric(
        "estafeta_logins_total",
        "counter",
        "Logins tried. result: ok, failed.",
        ("protocol", "result"),
    ),
    Metric(
        "estafeta_login_seconds",
        "histogram",
        "Time a password check took. cached: yes, no.",
        ("cached",),
        _SLOW,
    ),
    # Sending on
    Metric("estafeta_queue_rows", "gauge", "Recipients in the queue."),
    Metric("estafeta_queue_destinations", "gauge", "Destinations with rows in the queue."),
    Metric("estafeta_queue_oldest_seconds", "gauge", "Age of the oldest row of the queue."),
    Metric("estafeta_queue_leased", "gauge", "Recipients a worker is at now."),
    Metric(
        "estafeta_relay_attempts_total",
        "counter",
        "Recipients tried at other servers. outcome: delivered, deferred, refused, looped.",
        ("outcome",),
    ),
    Metric("estafeta_relay_seconds", "histogram", "Duration of one delivery attempt.", (), _SLOW),
    Metric(
        "estafeta_relay_connections_total",
        "counter",
        "Connections to other servers. result: opened, reused, failed.",
        ("result",),
    ),
    Metric("estafeta_bounces_total", "counter", "Messages returned to their senders."),
    Metric(
        "estafeta_dns_queries_total",
        "counter",
        "Questions put to the DNS. result: ok, nxdomain, nodata, servfail, timeout, cached.",
        ("result",),
    ),
    Metric("estafeta_dns_seconds", "histogram", "Time until the DNS answered.", (), _SLOW),
    # The store
    Metric("estafeta_store_units_total", "counter", "Units of work run."),
    Metric("estafeta_store_commits_total", "counter", "Transactions committed and synced."),
    Metric("estafeta_store_failures_total", "counter", "Units or commits that failed."),
    Metric("estafeta_store_commit_seconds", "histogram", "Duration of a commit.", (), _FAST),
    Metric("estafeta_store_group_units", "histogram", "Units in one commit.", (), _COUNTS),
    Metric("estafeta_store_wait_seconds", "histogram", "A unit's way to its answer.", (), _FAST),
    Metric("estafeta_store_checkpoint_seconds", "histogram", "Duration of checkpoints.", (), _SLOW),
    Metric("estafeta_store_wal_octets", "gauge", "Size of the write-ahead log."),
    # Reading
    Metric("estafeta_imap_sessions", "gauge", "IMAP sessions open now."),
    Metric("estafeta_imap_sessions_total", "counter", "IMAP sessions begun."),
    Metric(
        "estafeta_imap_commands_total", "counter", "IMAP commands, by name.", ("command", "result")
    ),
    Metric("estafeta_imap_command_seconds", "histogram", "Duration of IMAP commands.", (), _FAST),
    Metric("estafeta_pop3_sessions", "gauge", "POP3 sessions open now."),
    Metric("estafeta_pop3_sessions_total", "counter", "POP3 sessions begun."),
    # The program
    Metric("estafeta_errors_total", "counter", "Errors that are ours: bugs.", ("room",)),
    Metric("estafeta_ready", "gauge", "1 once every listener is open, 0 when stopping."),
)

BY_NAME = {metric.name: metric for metric in CATALOGUE}
