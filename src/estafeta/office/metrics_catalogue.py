"""Metrics catalogue: every metric, its kind, its labels and what it counts.

Rooms name them through `mail.protocols.Meter`, in full or without prefix and suffix; a name that is
not here is an error in tests. docs/metrics.md is made from this.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["counter", "gauge", "histogram"]


class Metric(msgspec.Struct, frozen=True):
    """One metric. Names of counters end in _total, of times in _seconds, of sizes in _octets.

    of_store: a gauge that every worker reads alike, not to be summed over them.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    of_store: bool = False


_FAST = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
_SLOW = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

CATALOGUE: tuple[Metric, ...] = (
    # Taking mail in
    Metric(
        "estafeta_smtp_sessions_total",
        "counter",
        "SMTP and LMTP sessions. role: mx, submission, lmtp. result: served, refused.",
        ("role", "result"),
    ),
    Metric(
        "estafeta_smtp_held_back_total",
        "counter",
        "Refusals that their clients had to wait for, after too many errors (`smtp.tarpit`).",
    ),
    Metric(
        "estafeta_rate_limited_total",
        "counter",
        "Recipients put off or refused by a limit. limit: network, sender_domain, account, "
        "unknown_recipients, outbound.",
        ("limit",),
    ),
    Metric(
        "estafeta_senders_stopped_total",
        "counter",
        "Accounts that were stopped because they wrote to too many.",
    ),
    Metric(
        "estafeta_busy",
        "gauge",
        "1 while new mail is turned away because that is short. what: memory, disk, store.",
        ("what",),
    ),
    Metric(
        "estafeta_logins_total",
        "counter",
        "Logins tried. protocol: smtp, imap, pop3. result: ok, failed.",
        ("protocol", "result"),
    ),
    Metric(
        "estafeta_messages_accepted_total",
        "counter",
        "Messages we took responsibility for. origin: as in the ledger.",
        ("origin",),
    ),
    Metric(
        "estafeta_claims_total",
        "counter",
        "What reports from outside say of recipients of our messages. proven: the report shows our "
        "token.",
        ("kind", "proven"),
    ),
    Metric(
        "estafeta_messages_refused_total",
        "counter",
        "Messages refused after their end, by reply code.",
        ("code",),
    ),
    Metric(
        "estafeta_recipients_refused_total",
        "counter",
        "Recipients refused at RCPT, by reply code.",
        ("code",),
    ),
    Metric(
        "estafeta_policy_findings_total",
        "counter",
        "Messages in which a policy found what keeps them out. kind: type, size, depth, parts, "
        "header, archive; late: not looked through in time.",
        ("kind",),
    ),
    Metric(
        "estafeta_policy_inspections_apart_total",
        "counter",
        "Messages that were looked through in another process, for they were large or intricate.",
    ),
    Metric(
        "estafeta_journal_attempts_total",
        "counter",
        "Attempts to reach an account that were refused or delayed and noted for its owner, by "
        "cause.",
        ("cause",),
    ),
    Metric(
        "estafeta_journal_dropped_total",
        "counter",
        "Attempts of these that were not noted: too many accounts at once were tried.",
    ),
    # Strangers
    Metric(
        "estafeta_visitors_total",
        "counter",
        "Clients of port 25 whose name was looked up. result: named, unnamed, unconfirmed (the "
        "name leads elsewhere), trouble, late.",
        ("result",),
    ),
    Metric(
        "estafeta_greylist_judgements_total",
        "counter",
        "Recipients of senders that were not in memory as known. result: stranger, early, again "
        "(came in), known, correspondent, crowd (too many strangers of one network are one), "
        "unremembered (let in: no room).",
        ("result",),
    ),
    Metric(
        "estafeta_list_answers_total",
        "counter",
        "Questions to lists in the DNS. result: block, allow, clear, failed.",
        ("zone", "result"),
    ),
    # Sending on
    Metric("estafeta_queue_rows", "gauge", "Recipients in the queue.", of_store=True),
    Metric(
        "estafeta_queue_leased",
        "gauge",
        "Recipients of the queue that are being tried now.",
        of_store=True,
    ),
    Metric(
        "estafeta_queue_oldest_seconds",
        "gauge",
        "Age of the oldest message in the queue.",
        of_store=True,
    ),
    Metric(
        "estafeta_queue_hosts_backing_off",
        "gauge",
        "Servers that have no time for us, and domains that asked us to slow down.",
        of_store=True,
    ),
    Metric(
        "estafeta_queue_destinations_waiting",
        "gauge",
        "Domains that wait for one of them.",
        of_store=True,
    ),
    Metric(
        "estafeta_queue_probes_total",
        "counter",
        "Probes: one message that finds out whether such a server has time again.",
    ),
    Metric(
        "estafeta_queue_postponed_total",
        "counter",
        "Messages whose turn came while their server had no time: put back, not attempted.",
    ),
    Metric(
        "estafeta_queue_concurrency",
        "gauge",
        "Deliveries under way.",
    ),
    Metric(
        "estafeta_queue_concurrency_allowed",
        "gauge",
        "Deliveries that the domains with deliveries under way take at once, together.",
    ),
    Metric(
        "estafeta_queue_greylist_passes_total",
        "counter",
        "Recipients taken after a greylist had turned them away.",
    ),
    Metric(
        "estafeta_queue_parked",
        "gauge",
        "Recipients that are held for a fault of our own set-up, or were.",
        of_store=True,
    ),
    Metric(
        "estafeta_self_checks_total",
        "counter",
        "Checks of our own set-up while mail is held for it. result: holds, fails, unknown.",
        ("fault", "result"),
    ),
    Metric(
        "estafeta_relay_outcomes_total",
        "counter",
        "Recipients tried elsewhere. outcome: delivered, deferred, refused, looped.",
        ("outcome",),
    ),
    Metric("estafeta_relay_seconds", "histogram", "Duration of one delivery attempt.", (), _SLOW),
    Metric(
        "estafeta_dns_questions_total",
        "counter",
        "Questions put to the DNS. answer: Found, NoData, NameNotFound, Trouble.",
        ("type", "answer"),
    ),
    Metric("estafeta_dns_seconds", "histogram", "Time until the DNS answered.", (), _SLOW),
    # Reading
    Metric("estafeta_imap_sessions_now", "gauge", "IMAP sessions open now."),
    Metric("estafeta_imap_sessions_total", "counter", "IMAP sessions begun."),
    Metric(
        "estafeta_imap_commands_total",
        "counter",
        "IMAP commands, by name. result: ok, no, bad.",
        ("command", "result"),
    ),
    Metric(
        "estafeta_imap_command_seconds",
        "histogram",
        "Duration of IMAP commands but IDLE.",
        (),
        _FAST,
    ),
    Metric("estafeta_pop3_sessions_now", "gauge", "POP3 sessions open now."),
    Metric("estafeta_pop3_sessions_total", "counter", "POP3 sessions begun."),
    # The store
    Metric("estafeta_store_units_total", "counter", "Units of work answered after a commit."),
    Metric("estafeta_store_failures_total", "counter", "Units answered with an error."),
    Metric("estafeta_store_commits_total", "counter", "Transactions committed and synced."),
    Metric("estafeta_store_commit_seconds_total", "counter", "Time spent in COMMIT."),
    Metric("estafeta_store_work_seconds_total", "counter", "Time from BEGIN to COMMIT."),
    Metric("estafeta_store_lost_total", "counter", "Transactions the database gave up."),
    Metric("estafeta_bucket_merges_total", "counter", "Units that merged buckets of limits."),
    Metric("estafeta_buckets_merged_total", "counter", "Buckets in them."),
    Metric("estafeta_store_waits_total", "counter", "Transactions that waited for their turn."),
    Metric("estafeta_store_reads_total", "counter", "Snapshots read."),
    Metric("estafeta_store_checkpoints_total", "counter", "Checkpoints of the write-ahead log."),
    Metric("estafeta_store_pauses_total", "counter", "Pauses of writing for a checkpoint."),
    Metric(
        "estafeta_objects_total",
        "counter",
        "Requests to the object store. operation: put, get, list, delete. result: ok, failed.",
        ("operation", "result"),
    ),
    Metric(
        "estafeta_objects_seconds",
        "histogram",
        "Duration of one request to the object store, retries included.",
        ("operation",),
        _SLOW,
    ),
    Metric(
        "estafeta_bodies_cache_total",
        "counter",
        "Bodies wanted whole from the object store. result: hit (on disk already), miss.",
        ("result",),
    ),
    # The API
    Metric(
        "estafeta_api_requests_total",
        "counter",
        "Requests of the HTTP API, by route and by the status of the answer.",
        ("route", "status"),
    ),
    # The program
    Metric(
        "estafeta_certificate_expiry_seconds",
        "gauge",
        "Seconds until a certificate of our listeners ends, by its file; below 0: it has.",
        ("certificate",),
        of_store=True,
    ),
    Metric("estafeta_workers_now", "gauge", "Processes that serve."),
    Metric("estafeta_worker_deaths_total", "counter", "Workers that ended without being told to."),
    Metric("estafeta_errors_total", "counter", "Errors that are ours: bugs.", ("room",)),
)

BY_NAME = {metric.name: metric for metric in CATALOGUE}

_PREFIX = "estafeta_"
_SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "counter": ("", "_total"),
    # OpenMetrics knows no gauge beside a counter of the same name: that gauge is `_now`.
    "gauge": ("", "_now"),
    "histogram": ("",),
}


def find_metric(name: str, kind: Kind) -> Metric | None:
    """The metric that a room calls `name`."""
    full = name if name.startswith(_PREFIX) else _PREFIX + name
    for suffix in _SUFFIXES[kind]:
        metric = BY_NAME.get(full + suffix)
        if metric is not None and metric.kind == kind:
            return metric
    return None
