"""Docs pages made from catalogues: settings, metrics, replies, causes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from estafeta.explain.causes import causes
from estafeta.explain.words import say
from estafeta.intake.words import texts
from estafeta.office.metrics_catalogue import CATALOGUE
from estafeta.office.settings_table import sections
from estafeta.queue.states import STATES, TRANSITIONS
from estafeta.wire import replies


def settings_page() -> str:
    """Every setting."""
    parts = [
        "# Settings\n\n"
        "The configuration is a TOML file, `estafeta.toml` in the current folder or "
        "`/etc/estafeta/estafeta.toml`, or what `--config` or `ESTAFETA_CONFIG` names. Relative "
        "paths in it are taken from its own folder. An unknown key is an error. `estafeta config "
        "check` reads it and says what is wrong; `estafeta config show` says what it comes to.\n\n"
        "After a change, SIGHUP (`systemctl reload estafeta`) has a running server read the file "
        "again: what says *reload* below counts from then on, what says *restart* from the next "
        "start, and the log names it until then.\n\n"
        'Durations are written "30s", "5m", "1h30m", "5d", or in seconds; sizes "50MiB", "10MB" or '
        "in octets.\n\n"
        "The least that makes a server:\n\n"
        "```toml\n"
        "[server]\n"
        'hostname = "mail.example.org"\n'
        'user = "estafeta"\n\n'
        "[tls]\n"
        "certificates = [\n"
        '  {certificate = "/etc/estafeta/mail.pem", key = "/etc/estafeta/mail.key"},\n'
        "]\n"
        "```\n"
    ]
    for section in sections():
        rows = [
            (
                f"`{s.key}`",
                s.takes,
                f"`{s.default}`" if s.default else "must be given",
                f"`{s.example}`" if s.example else "",
                "restart" if s.restart else "reload",
                s.about,
            )
            for s in section.settings
        ]
        head = ("key", "takes", "default", "example", "counts from", "what for")
        table = make_table(head, rows)
        parts.append(f"## {section.header}\n\n{section.about}\n\n{table}\n")
    return "\n".join(parts)


def metrics_page() -> str:
    """Every metric."""
    rows = [
        (f"`{m.name}`", m.kind, ", ".join(f"`{label}`" for label in m.labels), m.help)
        for m in CATALOGUE
    ]
    return (
        "# Metrics\n\n"
        "`/metrics` gives them in Prometheus' text format or as OpenMetrics, beside the usual "
        "`process_*` and `python_info`. A label that takes too many values is counted as "
        "`other`.\n\n" + make_table(("name", "kind", "labels", "what it counts"), rows)
    )


def replies_page() -> str:
    """Every reply we give in SMTP and LMTP."""
    rows = []
    for name, entry in replies.CATALOGUE.items():
        text = replies.words_of(entry).replace("\n", " / ")
        cause = replies.cause_of(entry)
        spanish = texts("es").get(name, "")
        rows.append(
            (
                str(entry.code),
                entry.status,
                text,
                f"`{cause}`" if cause else "",
                spanish,
                f"`{name}`",
            )
        )
    return (
        "# Replies\n\n"
        "Every reply of our SMTP and LMTP server, from `src/estafeta/wire/replies.py`. The second "
        "column is the enhanced status code (RFC 3463); words in braces are put in.\n\n"
        "What refuses a client, a sender, a recipient or a message says why in brackets behind "
        "its words, by a code of [causes.md](causes.md): `550 5.1.1 <ema@example.org>: there is no "
        "such mailbox here [unknown-user]`; and behind that where help is, if a policy names it. "
        "These are in Spanish where the domain of the recipient, or the account that submits, has "
        "that language; without accents for who did not ask for SMTPUTF8.\n\n"
        + make_table(("code", "status", "text", "cause", "in Spanish", "name"), sorted(rows))
    )


def causes_page() -> str:
    """Every cause with its words."""
    parts = [
        "# Causes\n\n"
        "Why a message did not arrive, or not yet: the codes that bounces, `estafeta trace` and "
        "the queue name, and what we tell people. Made from `src/estafeta/explain/causes.toml`.\n"
    ]
    for cause in causes().values():
        kind = "permanent" if cause.permanent else "temporary"
        owner = say(f"owner.{cause.owner}", "en")
        never = ", and the address or domain will never take mail" if cause.hard else ""
        reasons = ", ".join(f"`{reason}`" for reason in cause.sisimai)
        parts.append(
            f"## `{cause.code}`\n\nUsually {kind}{never}. Whose it is to repair: {owner}. "
            f"Reasons of sisimai: {reasons}. Source: {cause.source}.\n"
        )
        rows = [
            (language, words.title, words.explanation, words.remedy, words.returned)
            for language, words in cause.words.items()
        ]
        head = ("language", "title", "explanation", "what to do", "what to do once returned")
        parts.append(make_table(head, rows) + "\n")
    return "\n".join(parts)


def queue_states_page() -> str:
    """What a row of the queue may be, and how it changes."""
    states = [(f"**{s.name}**", f"`{s.columns}`", s.meaning, s.after_crash) for s in STATES]
    changes = [
        (t.from_ or "(no row)", t.to or "(no row)", t.when, f"`{t.unit}`", t.ledger)
        for t in TRANSITIONS
    ]
    arrows = [f"    {t.from_ or '[*]'} --> {t.to or '[*]'}: {t.when}" for t in TRANSITIONS]
    return (
        "# Queue states\n\n"
        "One row of `queue` for each recipient that is not ours to store and has not ended. The "
        "table is data, `queue/states.py`; `tests/queue` drives every transition.\n\n"
        "## States\n\n"
        + make_table(("state", "columns", "meaning", "what a crash leaves"), states)
        + "\n\n## Transitions\n\n"
        "Each is part of one transaction, together with its ledger row. Until the COMMIT of that "
        "transaction the old state holds, after it the new one; nothing lies between.\n\n"
        + make_table(("from", "to", "when", "by", "the recipient's fate"), changes)
        + "\n\n```mermaid\nstateDiagram-v2\n"
        + "\n".join(arrows)
        + "\n```\n"
    )


def make_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Text within a table: no line ends, bars and tags shown as they are."""
    plain = re.sub(r"\s+", " ", text).replace("|", "\\|")
    return plain if plain.startswith("`") else plain.replace("<", "&lt;")
