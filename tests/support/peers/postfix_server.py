"""postfix_server: Postfix under the contract of `server.py`.

Its mail is handed in by SMTP: its sendmail command cannot say ORCPT. Who logs in is asked of a
Dovecot, as the manuals of both have it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .dovecot import Dovecot
from .packages import fetch
from .postfix import MAILDIR, Postfix
from .process import free_port
from .server import (
    NOTHING_ASKED,
    Direction,
    Dsn,
    Feature,
    ServerSpec,
    submit_by_smtp,
)

# What the EHLO of each side leaves out, by the specification's switch.
_SWITCHED = {"pipelining": "pipelining", "chunking": "chunking"}


class PostfixServer:
    """See `server.ForeignServer`."""

    name = "Postfix"
    refolds: Collection[str] = ()
    cannot: Mapping[tuple[Direction, Feature], str] = {
        (Direction.SENDS, Feature.PRDR): "does not have it",
        (Direction.SENDS, Feature.CHUNKING): "its client always sends DATA",
    }

    def version(self) -> str:
        return fetch().versions["postfix"]

    @contextmanager
    def start(self, workspace: Path, spec: ServerSpec) -> Iterator[RunningPostfix]:
        with ExitStack() as stack:
            dovecot = None
            if spec.credentials:
                dovecot = stack.enter_context(
                    Dovecot(
                        workspace / "login",
                        host=spec.host,
                        password=spec.credentials[1],
                        auth_for_others=True,
                    )
                )
            running = RunningPostfix(workspace / "postfix", spec, dovecot)
            stack.enter_context(running.postfix)
            yield running


class RunningPostfix:
    """See `server.RunningServer`."""

    def __init__(self, folder: Path, spec: ServerSpec, dovecot: Dovecot | None) -> None:
        self.host = spec.host
        self.smtps_port = (spec.smtps_port or free_port(spec.host)) if spec.certificate else None
        self.submission_port = None
        services: dict[int, list[str]] = {}
        if self.smtps_port:
            services[self.smtps_port] = ["smtpd_tls_wrappermode=yes"]
        if dovecot is not None and spec.credentials is not None:
            self.submission_port = spec.submission_port or free_port(spec.host)
            services[self.submission_port] = [
                "smtpd_sasl_auth_enable=yes",
                "smtpd_sasl_type=dovecot",
                f"smtpd_sasl_path={dovecot.auth}",
                "smtpd_relay_restrictions=permit_sasl_authenticated,reject",
                "smtpd_recipient_restrictions=permit_sasl_authenticated,reject",
                f"smtpd_tls_security_level={'encrypt' if spec.certificate else 'none'}",
            ]
        (folder / "etc").mkdir(parents=True, exist_ok=True)
        self.postfix = Postfix(
            folder,
            hostname=spec.hostname,
            host=spec.host,
            port=spec.smtp_port or None,
            domains=list(spec.domains),
            certificate=spec.certificate,
            ca=spec.ca,
            settings=self._settings(folder / "etc", spec),
            services=services,
        )
        self.smtp_port = self.postfix.port

    def _settings(self, etc: Path, spec: ServerSpec) -> dict[str, str]:
        users = [f"{user}@{domain}" for domain, names in spec.domains.items() for user in names]
        (etc / "users").write_text("".join(f"{address} {MAILDIR}/\n" for address in users))
        answers = "".join(f"{address} {reply}\n" for address, reply in spec.answers.items())
        (etc / "answers").write_text(answers)
        settings = {
            "virtual_mailbox_maps": f"texthash:{etc / 'users'}",
            "smtpd_recipient_restrictions": f"check_recipient_access texthash:{etc / 'answers'}",
            "message_size_limit": str(spec.size_max),
            "maximal_backoff_time": "5s",
            "minimal_backoff_time": "5s",
            "queue_run_delay": "5s",
        }
        if left_out := [word for name, word in _SWITCHED.items() if not getattr(spec, name)]:
            settings["smtpd_discard_ehlo_keywords"] = ", ".join(left_out)
            settings["smtp_discard_ehlo_keywords"] = ", ".join(left_out)
        if spec.forbidden:
            names = rf"/name=.*{re.escape(spec.forbidden)}\b/"
            text = f"{names} REJECT Attachments of type {spec.forbidden} are not allowed\n"
            (etc / "attachments").write_text(text)
            settings["mime_header_checks"] = f"regexp:{etc / 'attachments'}"
        if hop := spec.next_hop:
            settings["relayhost"] = f"[{hop.host}]:{hop.port}"
            settings["smtp_tls_security_level"] = "none" if hop.tls == "none" else "encrypt"
            settings["smtp_tls_wrappermode"] = "yes" if hop.tls == "implicit" else "no"
        return settings

    def submit(
        self, message: bytes, sender: str, recipients: Sequence[str], dsn: Dsn = NOTHING_ASKED
    ) -> None:
        submit_by_smtp(self.host, self.smtp_port, message, sender, recipients, dsn)

    def received(self, recipient: str) -> list[bytes]:
        return self.postfix.mailbox_messages(recipient)

    def wait_received(self, recipient: str, count: int = 1) -> list[bytes]:
        return self.postfix.wait_messages(recipient, count)

    def queue(self) -> str:
        return "\n".join(json.dumps(row) for row in self.postfix.queue())

    def flush(self) -> None:
        self.postfix.flush()

    def log(self) -> str:
        return self.postfix.log()


SERVER = PostfixServer()
