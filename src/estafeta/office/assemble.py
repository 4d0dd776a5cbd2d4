"""Assemble: the one file that knows every room, and how they are put together over one World.

An `Installation` is everything that runs for one estafeta.toml: the same object serves a machine,
takes part in the demo, and lives in the simulated world.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
import structlog

from estafeta.deliver.directory import LocalDirectory
from estafeta.deliver.place import place
from estafeta.explain.words import pick_language
from estafeta.intake.accept import Acceptor
from estafeta.intake.claims import Claims
from estafeta.intake.load import Measures
from estafeta.intake.proxied import proxied
from estafeta.intake.role import Role
from estafeta.intake.server import Places, SmtpService
from estafeta.intake.session import Desk
from estafeta.mail.envelope import Envelope
from estafeta.mail.protocols import Content, Meter
from estafeta.office.config import Config, Listener, QueueDomain
from estafeta.office.config import Queue as QueueSetting
from estafeta.office.config import Route as RouteSetting
from estafeta.office.doors import ANY, Door, Doors, hosts_of
from estafeta.office.http import Check
from estafeta.office.receiving import Receiving, limit_of, networks
from estafeta.office.sender import Sender
from estafeta.queue import rows as queue_rows
from estafeta.queue.delays import Delays
from estafeta.queue.handling import Hand
from estafeta.queue.holders import Life
from estafeta.queue.hosts import Hosts
from estafeta.queue.notices import Notices, NoticeSettings
from estafeta.queue.plan import DomainRules, RetryPlan, Rules
from estafeta.queue.retries import BackoffSettings
from estafeta.queue.runner import Queue, QueueSettings
from estafeta.queue.suspended import ALL, Drain
from estafeta.read import ImapServer, Pop3Server, ReadSettings
from estafeta.relay import Job, Relay, RelaySettings, Report, Timeouts
from estafeta.resolve import (
    Credentials,
    EgressGuard,
    Resolver,
    Router,
    StaticRoute,
    StaticRoutes,
    TlsMode,
)
from estafeta.store import accounts, meta
from estafeta.store.bodies import Bodies
from estafeta.store.credentials import Authenticator
from estafeta.store.engine import Store, Tx
from estafeta.store.ids import Ids
from estafeta.store.tokens import Tokens
from estafeta.submit.outbound import Outbound, OutboundLimit
from estafeta.submit.submission import SubmissionRole
from estafeta.wire.sasl import MECHANISMS
from estafeta.wire.smtp_server.profile import Profile
from estafeta.world.seams import Endpoint, TlsConfig, World

log = structlog.get_logger("office")

TLS_MODES: dict[str, TlsMode] = {
    "none": "none",
    "opportunistic": "may",
    "required": "require",
    "verified": "verify",
    "implicit": "implicit",
}


class Outside(msgspec.Struct, frozen=True):
    """What an installation needs from outside besides the world.

    tls_server: what listeners show; None where nothing speaks TLS. tls_client: takes any
    certificate; tls_verifying: chain and name must hold. dns_servers: recursive resolvers.
    own_addresses: of this machine, which a listener on `*` answers at. tls_asking: as tls_server,
    where people log in and are asked for a certificate; None: they are not.
    """

    dns_servers: tuple[Endpoint, ...]
    tls_server: TlsConfig | None = None
    tls_client: TlsConfig | None = None
    tls_verifying: TlsConfig | None = None
    own_addresses: tuple[str, ...] = ()
    tls_asking: TlsConfig | None = None
    memory: Callable[[], int] | None = None
    disk_free: Callable[[], int] | None = None


class Installation:
    """All rooms of one installation over one open store. See office.service for its life."""

    def __init__(
        self,
        config: Config,
        world: World,
        store: Store,
        outside: Outside,
        meter: Meter,
        *,
        life: Life | None = None,
        places: Callable[[Listener], Places] = lambda _: Places(),
    ) -> None:
        """life: None where no other process serves the store. places: who is in at a listener."""
        self._new_places = places
        self.config = config
        self.world = world
        self.store = store
        self.meter = meter
        self.outside = outside
        server = config.server
        self.ids = Ids(world.clock, world.dice)
        self.bodies = Bodies(
            world.disk,
            self.ids,
            objects=world.objects,
            large=config.bodies.large,
            cache_octets=config.bodies.cache_max,
            meter=meter,
        )
        self.authenticator = Authenticator(store, world)
        self.tokens = Tokens(store, world.dice)
        self._directory = LocalDirectory(postmaster=server.postmaster).look_up
        self.resolver = Resolver(
            world, outside.dns_servers, try_seconds=config.dns.timeout, meter=meter
        )
        self.receiving = Receiving(
            config,
            world,
            store,
            self.ids,
            self._directory,
            self.resolver,
            self._measures(),
            meter,
        )
        self.outbound = Outbound(
            store,
            self.receiving.buckets,
            ids=self.ids,
            clock=world.clock,
            setting=_outbound_limit(config),
            meter=meter,
        )
        self._notices = Notices(
            world,
            ids=self.ids,
            tokens=self.tokens,
            host_name=server.hostname,
            postmaster=server.postmaster,
            language=self.language,
            settings=_notice_settings(config),
        )
        self.acceptor = Acceptor(
            store=store,
            bodies=self.bodies,
            ids=self.ids,
            world=world,
            directory=self._directory,
            place=place,
            notices=self._notices,
            meter=meter,
            claims=Claims(store=store, ids=self.ids, tokens=self.tokens, world=world, meter=meter),
        )
        self._drains: Mapping[str, Drain] = {}
        hosts = Hosts(store, world.clock, meter)
        self.relay = Relay(world, self._router(), self.relay_settings(), meter, hosts)
        self.queue = Queue(
            store=store,
            bodies=self.bodies,
            ids=self.ids,
            world=world,
            attempt=self._attempt,
            acceptor=self.acceptor,
            notices=self._notices,
            tokens=self.tokens,
            settings=_queue_settings(config),
            hosts=hosts,
            life=life,
            meter=meter,
        )
        self.acceptor.use(self.queue)
        self.queue.on_drains = self._reroute
        self._places: dict[str, Places] = {}  # by all that a listener's settings say
        self.hand = Hand(
            store,
            ids=self.ids,
            clock=world.clock,
            bodies=self.bodies,
            acceptor=self.acceptor,
        )
        self.sender = Sender(self.queue, self.relay, self.resolver, self._delays())
        self.doors = Doors(world.net, self._all_doors())

    def health_checks(self) -> dict[str, Check]:
        """For /healthz: the store answers and can be written, the listeners are open, the object
        store does what it is asked."""

        async def store() -> str:
            await self.store.read(queue_rows.size)
            if failure := getattr(getattr(self.store, "statistics", None), "last_failure", ""):
                # Who is not well may get no mail, and so no COMMIT that shows that it is again.
                await self.store.run(lambda tx: meta.put(tx, "written", ""))
                log.info("the store can be written again", failure=failure)
            return ""

        async def listeners() -> str:
            return "" if self.doors.is_open else "none is open"

        checks: dict[str, Check] = {"store": store, "listeners": listeners}
        if self.bodies.shelf is not None:
            checks["bodies"] = self.bodies.trouble
        return checks

    def reconfigure(self, config: Config, outside: Outside) -> None:
        """For sessions and attempts from now on; listeners, names and the store stay."""
        self.config = msgspec.structs.replace(
            config, server=self.config.server, listener=self.config.listener
        )
        self.outside = outside
        self.tokens.forget()
        self.relay.use(self._router(), self.relay_settings())
        self._notices.settings = _notice_settings(config)
        self.queue.use(_queue_settings(self.config))
        self.receiving.use(self.config)
        self.outbound.setting = _outbound_limit(self.config)
        self.doors.use(self._all_doors())

    def show(self, tls_server: TlsConfig | None, tls_asking: TlsConfig | None) -> None:
        """Other certificates, for connections from now on. See `Outside`."""
        self.outside = msgspec.structs.replace(
            self.outside, tls_server=tls_server, tls_asking=tls_asking
        )
        self.doors.use(self._all_doors())

    # -- what the rooms are handed -------------------------------------------------------------

    async def _attempt(
        self, destination: str, envelope: Envelope, content: Content, sent: Callable[[], None]
    ) -> Report:
        return await self.relay.attempt(Job(destination, envelope, content, sent))

    async def language(self, address: str) -> str:
        """Of the account with that address, of its domain, or the installation's."""

        def wishes(tx: Tx) -> list[str]:
            account = accounts.account(tx, address.lower())
            domain = accounts.domain(tx, address.rpartition("@")[2])
            return [found.language for found in (account, domain) if found is not None]

        return pick_language(
            *(wish for wish in await self.store.read(wishes) if wish), self.config.server.language
        )

    def _measures(self) -> Measures:
        outside = self.outside
        return Measures(
            waiting=lambda: getattr(self.store, "waiting", 0),
            memory=outside.memory or (lambda: 0),
            disk_free=outside.disk_free or (lambda: 1 << 62),
        )

    def _delays(self) -> Delays:
        return Delays(
            store=self.store,
            bodies=self.bodies,
            ids=self.ids,
            world=self.world,
            acceptor=self.acceptor,
            notices=self._notices,
            until=self.queue.given_up,
        )

    def _router(self) -> Router:
        config = self.config
        own = [
            Endpoint(address, listener.port)
            for listener in config.listener
            if listener.role == "mx"
            for address in answered_at(listener.address, self.outside.own_addresses)
        ]
        return Router(
            self.world,
            self.resolver,
            own_names=[config.server.hostname],
            own_endpoints=own,
            static=_static_routes(config, self._drains),
            port=config.relay.port,
            no_mx=config.relay.no_mx,
            no_mx_exceptions=config.relay.no_mx_exceptions,
            guard=EgressGuard(config.relay.allow_networks),
        )

    def _reroute(self) -> None:
        """For attempts from now on: other destinations are drained."""
        self._drains = self.queue.standing.drains
        self.relay.use(self._router(), self.relay_settings())

    def relay_settings(self) -> RelaySettings:
        relay = self.config.relay
        return RelaySettings(
            hello_name=relay.hello_name,
            source_v4=relay.source_ipv4,
            source_v6=relay.source_ipv6,
            tls=TLS_MODES[relay.tls],
            tls_client=self.outside.tls_client,
            tls_verifying=self.outside.tls_verifying,
            timeouts=Timeouts().at_most(relay.wait_max),
        )

    # -- listeners -----------------------------------------------------------------------------

    def _tls(self, listener: Listener) -> TlsConfig | None:
        if listener.tls == "none":
            return None
        asked = listener.role in ("submission", "imap", "pop3")
        return (self.outside.tls_asking if asked else None) or self.outside.tls_server

    def _all_doors(self) -> list[Door]:
        return [self._door(x) for x in self.config.listener if x.role != "http"]

    def _door(self, listener: Listener) -> Door:
        tls = self._tls(listener)
        implicit = tls if listener.tls == "implicit" else None
        proxies = networks(listener.proxy_networks)
        if listener.role in ("mx", "submission", "lmtp"):
            smtp = self.config.smtp
            submission = listener.role == "submission"
            service = SmtpService(
                self._desk(listener),
                places=self._places_at(listener),
                relay_networks=networks(smtp.relay_networks) if submission else (),
                plaintext_auth_networks=networks(smtp.plaintext_auth_networks),
                sessions_max=smtp.connections_max,
                per_client_max=smtp.connections_per_address_max,
                per_network_max=smtp.connections_per_network_max,
                exempt_networks=networks(self.config.rates.exempt_networks),
            )
            return Door(listener, proxied(service.serve, proxies), service)
        settings = ReadSettings(
            hostname=self.config.server.hostname,
            starttls=tls if listener.tls == "starttls" else None,
            plaintext_auth_networks=networks(self.config.smtp.plaintext_auth_networks),
            message_octets_max=self.config.smtp.size_max,
            idle_seconds=self.config.imap.idle_timeout,
            pop3_idle_seconds=self.config.pop3.idle_timeout,
        )
        kind = ImapServer if listener.role == "imap" else Pop3Server
        server = kind(
            store=self.store,
            bodies=self.bodies,
            authenticator=self.authenticator,
            world=self.world,
            settings=settings,
            meter=self.meter,
        )
        return Door(
            listener,
            proxied(lambda stream: server.serve(stream, implicit_tls=implicit), proxies),
            server,
        )

    def _places_at(self, listener: Listener) -> Places:
        key = repr(listener)
        if key not in self._places:
            self._places[key] = self._new_places(listener)
        return self._places[key]

    def _desk(self, listener: Listener) -> Desk:
        config = self.config
        tls = self._tls(listener)
        submission = listener.role == "submission"
        role: Role
        if submission:
            role = SubmissionRole(
                self.store,
                self._directory,
                clock=self.world.clock,
                tokens=self.tokens,
                host_name=config.server.hostname,
                outbound=self.outbound,
                contents=self.receiving.contents,
                remembers=config.submission.remember_submissions,
            )
        else:
            role = self.receiving.role("lmtp" if listener.role == "lmtp" else "mx")
        return Desk(
            profile=Profile(
                role=role.name,
                host_name=config.server.hostname,
                size_max=config.smtp.size_max,
                recipients_max=config.smtp.recipients_max,
                tls_offered=tls is not None,
                auth_mechanisms=MECHANISMS if submission else (),
                prdr=listener.role == "mx" and config.smtp.prdr,
            ),
            role=role,
            acceptor=self.acceptor,
            store=self.store,
            bodies=self.bodies,
            authenticator=self.authenticator,
            ids=self.ids,
            world=self.world,
            meter=self.meter,
            tls=tls,
            implicit_tls=listener.tls == "implicit",
            greeting_delay=config.smtp.greeting_delay if listener.role == "mx" else 0.0,
            tarpit=config.smtp.tarpit,
            load=None if listener.role == "lmtp" else self.receiving.load,
        )


def answered_at(address: str, own: Sequence[str]) -> Sequence[str]:
    """Addresses at which a listener is found. own: those of this machine."""
    if address == "*":
        return own
    if address in ANY:
        return [each for each in own if (":" in each) == (":" in address)]
    return (address,)


def parse_endpoint(text: str) -> Endpoint:
    """From the form that config checked: "192.0.2.1:53" or "[::1]:53"."""
    host, _, port = text.rpartition(":")
    return Endpoint(host.removeprefix("[").removesuffix("]"), int(port))


def http_endpoints(config: Config) -> list[Endpoint]:
    return [
        Endpoint(host, listener.port)
        for listener in config.listener
        if listener.role == "http"
        for host in hosts_of(listener)
    ]


def _static_routes(config: Config, drains: Mapping[str, Drain]) -> StaticRoutes:
    """drains: what operators said goes before what the configuration says."""
    configured = {} if ALL in drains else {r.domain: _static_route(r) for r in config.relay.routes}
    return StaticRoutes(
        configured
        | {name: StaticRoute(hosts=((each.host, each.port),)) for name, each in drains.items()}
    )


def _static_route(route: RouteSetting) -> StaticRoute:
    credentials = None
    if route.username:
        credentials = Credentials(route.username, route.password)
    return StaticRoute(
        hosts=tuple((host, route.port) for host in route.hosts),
        lmtp=route.protocol == "lmtp",
        tls=TLS_MODES[route.tls] if route.tls else None,
        credentials=credentials,
    )


def _queue_settings(config: Config) -> QueueSettings:
    queue, workers = config.queue, config.server.workers
    usual = _domain_rules(
        queue, queue.per_destination_concurrency, queue.per_destination_rate, workers
    )
    return QueueSettings(
        rules=Rules(
            usual,
            {
                each.domain: _domain_rules(each, each.concurrency, each.rate, workers)
                for each in queue.domains
            },
        ),
        backoff=BackoffSettings(first=queue.host_backoff, most=queue.host_backoff_max),
        total=_share(queue.concurrency, workers),
        park_max=queue.park_max,
    )


def _domain_rules(
    plan: QueueSetting | QueueDomain, concurrency: int, rate: int, workers: int
) -> DomainRules:
    return DomainRules(
        plan=RetryPlan(
            intervals=tuple(plan.retry),
            repeat=plan.repeat,
            give_up_after=plan.give_up_after,
            retries_max=plan.retries_max,
        ),
        concurrency=_share(concurrency, workers),
        rate=rate / workers,
    )


def _outbound_limit(config: Config) -> OutboundLimit:
    rate = config.submission.limit
    return OutboundLimit(rate, limit_of(rate))


def _notice_settings(config: Config) -> NoticeSettings:
    notices = config.notices
    return NoticeSettings(notices.support, notices.delay_after, notices.double_bounce)


def _share(limit: int, workers: int) -> int:
    """What each worker may do of what is the limit of all. What one has no room for another takes,
    so nothing of it lies idle."""
    return max(1, limit // workers)
