"""Config rules: what is filled in where nothing was said, and what must hold between settings."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path as FilePath

import msgspec

from estafeta.office.config import Certificate, Config, Listener, Queue, QueueDomain, Route
from estafeta.office.config_lines import Path
from estafeta.office.limits import PASSWORD_CHARACTERS_MAX

STANDARD_PORTS: dict[tuple[str, str], int] = {
    ("mx", "starttls"): 25,
    ("mx", "none"): 25,
    ("submission", "implicit"): 465,
    ("submission", "starttls"): 587,
    ("submission", "none"): 587,
    ("lmtp", "none"): 24,
    ("lmtp", "starttls"): 24,
    ("imap", "implicit"): 993,
    ("imap", "starttls"): 143,
    ("imap", "none"): 143,
    ("pop3", "implicit"): 995,
    ("pop3", "starttls"): 110,
    ("pop3", "none"): 110,
    ("http", "none"): 8080,
}
"""The usual port of a role under a kind of TLS; what is not here is not possible."""

_TLS_OF_PORT = {465: "implicit", 993: "implicit", 995: "implicit"}
_TLS_OF_ROLE = {"lmtp": "none", "http": "none"}

DEFAULT_LISTENERS = (
    Listener(role="mx"),
    Listener(role="submission", port=465),
    Listener(role="submission", port=587),
    Listener(role="imap", port=993),
    Listener(role="imap", port=143),
    Listener(role="pop3", port=995),
    Listener(role="pop3", port=110),
    Listener(role="http"),
)


def complete(config: Config, base: FilePath | None) -> Config:
    """The configuration with every default that depends on something else filled in."""
    folder = base or FilePath.cwd()

    def absolute(path: str) -> str:
        return str(folder / path) if path else ""

    server = config.server
    hostname = server.hostname or socket.getfqdn().lower()
    data_dir = absolute(server.data_dir)
    return msgspec.structs.replace(
        config,
        server=msgspec.structs.replace(
            server,
            hostname=hostname,
            data_dir=data_dir,
            store=server.store or f"sqlite:///{data_dir.lstrip('/')}/estafeta.db",
            postmaster=server.postmaster or f"postmaster@{hostname}",
        ),
        listener=[_complete_listener(x, absolute(x.path)) for x in config.listener] or _defaults(),
        tls=msgspec.structs.replace(
            config.tls,
            certificates=[
                Certificate(certificate=absolute(x.certificate), key=absolute(x.key))
                for x in config.tls.certificates
            ],
            client_authorities=absolute(config.tls.client_authorities),
        ),
        relay=msgspec.structs.replace(
            config.relay,
            hello_name=config.relay.hello_name or hostname,
            routes=[
                msgspec.structs.replace(
                    route,
                    domain=route.domain.lower(),
                    port=route.port or config.relay.port,
                    password_file=absolute(route.password_file),
                )
                for route in config.relay.routes
            ],
        ),
        queue=msgspec.structs.replace(
            config.queue,
            domains=[_complete_domain(each, config.queue) for each in config.queue.domains],
        ),
        s3=msgspec.structs.replace(
            config.s3,
            prefix=f"{config.s3.prefix.strip('/')}/" if config.s3.prefix.strip("/") else "",
            authorities=absolute(config.s3.authorities),
            secret_access_key_file=absolute(config.s3.secret_access_key_file),
        ),
    )


def _complete_domain(domain: QueueDomain, queue: Queue) -> QueueDomain:
    """What is not said of a domain is as for all."""
    usual = {
        "repeat": queue.repeat,
        "give_up_after": queue.give_up_after,
        "retries_max": queue.retries_max,
        "concurrency": queue.per_destination_concurrency,
        "rate": queue.per_destination_rate,
    }
    said = {name: value for name in usual if (value := getattr(domain, name)) >= 0}
    return msgspec.structs.replace(
        domain,
        domain=domain.domain.lower(),
        retry=domain.retry or queue.retry,
        **(usual | said),
    )


def _defaults() -> list[Listener]:
    return [_complete_listener(x, "") for x in DEFAULT_LISTENERS]


def _complete_listener(listener: Listener, path: str) -> Listener:
    tls = listener.tls or _TLS_OF_ROLE.get(listener.role) or _TLS_OF_PORT.get(listener.port, "")
    tls = tls or "starttls"
    port = listener.port
    if port == -1:
        port = 0 if path else STANDARD_PORTS.get((listener.role, tls), 0)
    # Pages for the administrator are not for everybody.
    address = listener.address or ("127.0.0.1" if listener.role == "http" else "*")
    return msgspec.structs.replace(
        listener,
        tls=tls,
        port=port,
        path=path,
        address=address,
    )


def fill_secrets(config: Config) -> tuple[Config, list[tuple[Path, str]]]:
    """Passwords that stand in files put in place, and what is wrong with those files."""
    routes: list[Route] = []
    broken: list[tuple[Path, str]] = []

    def secret(file: str, where: Path) -> str:
        try:
            with FilePath(file).open(encoding="utf-8") as opened:
                return opened.readline(PASSWORD_CHARACTERS_MAX).rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as trouble:
            reason = getattr(trouble, "strerror", None) or "it is not UTF-8"
            broken.append((where, f"a readable file was expected: {reason.lower()}"))
            return ""

    for n, route in enumerate(config.relay.routes):
        if route.password_file and not route.password:
            password = secret(route.password_file, ("relay", "routes", n, "password_file"))
            route = msgspec.structs.replace(route, password=password)
        routes.append(route)
    relay = msgspec.structs.replace(config.relay, routes=routes)
    s3 = config.s3
    if s3.secret_access_key_file and not s3.secret_access_key:
        key = secret(s3.secret_access_key_file, ("s3", "secret_access_key_file"))
        s3 = msgspec.structs.replace(s3, secret_access_key=key)
    return msgspec.structs.replace(config, relay=relay, s3=s3), broken


def broken_rules(config: Config) -> Iterator[tuple[Path, str]]:
    """(path, what was expected) for each rule between settings that does not hold."""
    yield from _broken_listeners(config)
    for n, route in enumerate(config.relay.routes):
        here: Path = ("relay", "routes", n)
        if not route.hosts:
            yield (*here, "hosts"), "at least one host was expected"
        if route.username and not (route.password or route.password_file):
            yield (*here, "username"), "password or password_file was expected beside it"
    yield from _broken_queue(config.queue)
    for setting, address, version in (
        ("source_ipv4", config.relay.source_ipv4, 4),
        ("source_ipv6", config.relay.source_ipv6, 6),
    ):
        if address and ipaddress.ip_address(address).version != version:
            yield ("relay", setting), f"an IPv{version} address was expected"
    yield from _broken_s3(config)
    if config.greylist.window <= config.greylist.delay:
        yield ("greylist", "window"), "more than delay was expected, or nobody could come in"
    if "@" not in config.server.postmaster:
        yield ("server", "postmaster"), "a mail address was expected"
    if config.notices.support and "@" not in config.notices.support:
        yield ("notices", "support"), "a mail address was expected"


def _broken_queue(queue: Queue) -> Iterator[tuple[Path, str]]:
    yield from _broken_plan(queue, ("queue",))
    if queue.per_destination_rate < 0:
        yield ("queue", "per_destination_rate"), "0 or more was expected"
    if queue.host_backoff < 1:
        yield ("queue", "host_backoff"), "a pause of at least 1s was expected"
    if queue.host_backoff_max < queue.host_backoff:
        yield ("queue", "host_backoff_max"), "no less than host_backoff was expected"
    seen: dict[str, int] = {}
    for n, domain in enumerate(queue.domains):
        here: Path = ("queue", "domains", n)
        if not domain.domain.strip("."):
            yield (*here, "domain"), 'a domain, ".example.org" or "*" was expected'
        elif domain.domain in seen:
            other = f"queue.domains[{seen[domain.domain]}]"
            yield (*here, "domain"), f"another domain was expected: {other} has it"
        seen.setdefault(domain.domain, n)
        if domain.concurrency < 1:
            yield (*here, "concurrency"), "1 or more was expected"
        yield from _broken_plan(domain, here)


def _broken_plan(plan: Queue | QueueDomain, here: Path) -> Iterator[tuple[Path, str]]:
    """A plan that never ends, or ends in a way that cannot come about."""
    for n, wait in enumerate(plan.retry):
        if wait < 1:
            yield (*here, "retry", n), "a wait of at least 1s was expected"
    if 0 < plan.repeat < 1:
        yield (*here, "repeat"), "a wait of at least 1s was expected, or 0s for none"
    if plan.retries_max < 0:
        yield (*here, "retries_max"), "0 or more was expected"
    if not plan.repeat and not plan.retry:
        yield (*here, "retry"), 'a wait was expected, as repeat = "0s" gives none'
    if not plan.repeat and plan.retries_max > len(plan.retry):
        yield (
            (*here, "retries_max"),
            f'{len(plan.retry)} at most was expected: with repeat = "0s" the list ends then',
        )
    if plan.repeat and not plan.give_up_after and not plan.retries_max:
        yield (
            (*here, "give_up_after"),
            'a time was expected, or retries_max, or repeat = "0s": nothing would end it',
        )


def _broken_s3(config: Config) -> Iterator[tuple[Path, str]]:
    s3 = config.s3
    if config.bodies.large == "s3" and not s3.bucket:
        yield ("bodies", "large"), "[s3] bucket was expected beside it"
    if s3.endpoint and not s3.endpoint.startswith(("https://", "http://")):
        yield ("s3", "endpoint"), 'a URL such as "https://s3.example.org" was expected'
    if not s3.prefix.isascii() or any(part in (".", "..") for part in s3.prefix.split("/")):
        yield ("s3", "prefix"), 'a path such as "mail/" in ASCII was expected'
    if s3.access_key_id and not (s3.secret_access_key or s3.secret_access_key_file):
        yield ("s3", "access_key_id"), "secret_access_key or secret_access_key_file was expected"
    if s3.secret_access_key and not s3.access_key_id:
        yield ("s3", "secret_access_key"), "access_key_id was expected beside it"


def _broken_listeners(config: Config) -> Iterator[tuple[Path, str]]:
    seen: dict[tuple[str, int, str], int] = {}
    certificate = bool(config.tls.certificates) or config.tls.self_signed
    if not certificate and config.listener == _defaults():
        yield ("tls", "certificates"), "a certificate was expected (or self_signed = true)"
        return
    for n, listener in enumerate(config.listener):
        here: Path = ("listener", n)
        if listener.path and listener.role != "lmtp":
            yield (*here, "path"), "address and port were expected: only lmtp has a Unix socket"
        if listener.proxy_networks and listener.role == "http":
            yield (*here, "proxy_networks"), "a mail listener was expected: http takes no PROXY"
        if (listener.role, listener.tls) not in STANDARD_PORTS:
            possible = [t for r, t in STANDARD_PORTS if r == listener.role]
            yield (*here, "tls"), f"{' or '.join(possible)} was expected for {listener.role}"
        elif listener.tls != "none" and not certificate:
            yield (
                here,
                f"a certificate was expected in [tls] certificates for {listener.role} with "
                f'tls = "{listener.tls}" (or tls = "none", or [tls] self_signed = true)',
            )
        place = (listener.address, listener.port, listener.path)
        if place in seen and (listener.port or listener.path):
            yield here, f"another address or port was expected: listener[{seen[place]}] has it"
        seen.setdefault(place, n)
