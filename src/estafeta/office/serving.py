"""Serving: one installation as a process of this machine, from its file to its last answer."""

from __future__ import annotations

import fcntl
import gc
import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import structlog

from estafeta.intake.server import Places
from estafeta.mail.protocols import Meter
from estafeta.office.api import api_routes
from estafeta.office.assemble import Installation, Outside, http_endpoints, parse_endpoint
from estafeta.office.certificate_watch import CertificateWatch, Watched
from estafeta.office.certificates import check_tls_files
from estafeta.office.config import Config, Listener
from estafeta.office.config_read import read_config
from estafeta.office.doors import Latch
from estafeta.office.http import Colleagues, HttpServer, make_app
from estafeta.office.metrics import PrometheusMeter
from estafeta.office.node import life_of
from estafeta.office.objects import objects_of
from estafeta.office.privileges import Identity, drop, find_identity, hand_over, prepare_folder
from estafeta.office.self_check import SelfCheck, remarks
from estafeta.office.service import Component, Service
from estafeta.office.settings_shown import effective
from estafeta.office.settings_table import FIXED_AT_START
from estafeta.office.stopped import StoppedSenders
from estafeta.office.tenure import tenure_of
from estafeta.office.upkeep import Upkeep
from estafeta.office.watch import watch
from estafeta.queue.holders import Life
from estafeta.resolve import parse_resolv_conf
from estafeta.store.bodies import Bodies, BodiesRefused, BodiesUnavailable
from estafeta.store.engine import Store
from estafeta.store.open import open_store
from estafeta.world.addresses import own_addresses
from estafeta.world.certificates import Authority
from estafeta.world.files import RealFiles
from estafeta.world.machine import free_octets, resident_octets
from estafeta.world.net import bind
from estafeta.world.real import real_world, run
from estafeta.world.seams import Endpoint, World
from estafeta.world.tls import ServerTls, client_config, server_config

RESOLV_CONF = Path("/etc/resolv.conf")
COLLECT_AFTER_OBJECTS = 20_000

log = structlog.get_logger("serve")


def serve(config: Config, *, config_file: Path, ready_fd: int | None = None) -> None:
    """Until SIGTERM or SIGINT. Raises what `errors.explain_startup_error` explains."""
    identity = find_identity(config.server.user, config.server.group)
    data_dir = Path(config.server.data_dir)
    prepare_folder(data_dir, identity)
    with tenure_of(config.server):
        world = real_world(data_dir, objects_of(config))
        run(_serve(config, config_file, identity, world, ready_fd))


async def _serve(
    config: Config,
    config_file: Path,
    identity: Identity | None,
    world: World,
    ready_fd: int | None,
) -> None:
    built = await build(config, world, life_of(config, world.dice))

    def reload() -> None:
        fresh = read_good_config(config_file)
        built.reconfigure(fresh)
        warn_of_restart(config, fresh)

    service = Service(
        built.components(),
        after_start=lambda: drop_root(Path(config.server.data_dir), identity),
        reload=reload,
        ready_fd=ready_fd,
        stop_seconds=config.server.stop_seconds,
    )
    calm_collector()
    await service.run()


class Built:
    """An installation over its open store, with what an administrator sees of it."""

    def __init__(self, installation: Installation, meter: PrometheusMeter) -> None:
        self.installation = installation
        self.meter = meter
        self.checks = installation.health_checks()

    def components(
        self,
        *,
        colleagues: Colleagues | None = None,
        bind: Callable[[Endpoint], socket.socket] = bind,
    ) -> list[Component]:
        """In the order in which they start. bind: for the pages; the doors have the world's net."""
        whole = self.installation
        found: list[Component] = [
            Upkeep(whole.store, whole.bodies, whole.world.clock),
            certificate_watch(whole, self.meter),
            whole.receiving,
            Latch(whole.doors),
            whole.sender,
            whole.doors,
            SelfCheck(whole, self.meter),
            StoppedSenders(whole),
        ]
        if pages := http_endpoints(whole.config):
            meter = self.meter if whole.config.http.metrics else None
            routes = api_routes(whole) if whole.config.http.api else ()
            app = make_app(
                self.checks, meter, routes, colleagues=colleagues, remarks=remarks(whole.store)
            )
            found.append(HttpServer(app, pages, bind))
        return found

    def reconfigure(self, fresh: Config) -> None:
        """fresh: read and found good. Raises OSError, ssl.SSLError: then all is as it was."""
        self.installation.reconfigure(fresh, outside_of(fresh, self.installation.world))


async def build(
    config: Config,
    world: World,
    life: Life,
    places: Callable[[Listener], Places] = lambda _: Places(),
) -> Built:
    """Opens the store. life, places: see Installation. Raises what keeps it from starting."""
    outside = outside_of(config, world)
    meter = PrometheusMeter()
    meter.gauge("workers", 1)
    store = await open_store(config.server.store, world)
    for remark in getattr(store, "remarks", ()):
        log.warning("store", remark=remark)
    watch(meter, store, world.clock)
    installation = Installation(config, world, store, outside, meter, life=life, places=places)
    await _own_objects(installation.bodies, store)
    return Built(installation, meter)


def read_good_config(file: Path) -> Config:
    """Raises ConfigError, CommandError: with the place or the file at fault."""
    fresh = read_config(file)
    check_tls_files(fresh.tls)
    return fresh


def warn_of_restart(running: Config, fresh: Config) -> None:
    if waiting := waiting_for_restart(running, fresh):
        log.warning("these settings change only with a restart", settings=waiting)


async def _own_objects(bodies: Bodies, store: Store) -> None:
    """What waiting cannot mend stops the start; an object store that is away does not: small
    messages need none, large ones are answered 451 until it is back. Raises BodiesRefused."""
    try:
        await bodies.own(store)
    except BodiesRefused:
        await store.close()
        raise
    except BodiesUnavailable as error:
        log.warning("object store not available, large messages wait", error=str(error))


def waiting_for_restart(running: Config, fresh: Config) -> list[str]:
    """The keys that differ and that a reload leaves as they were at the start."""
    before, after = _written(running), _written(fresh)
    return [
        key
        for key in before | after
        if key.startswith(FIXED_AT_START) and before.get(key) != after.get(key)
    ]


def _written(config: Config) -> dict[str, str]:
    """By key; passwords too, which differ as other settings do."""
    return {each.key: each.written for each in effective(config, {}, secrets=True)}


def calm_collector() -> None:
    """What was loaded stays: the collector need not walk it, nor come for every few objects.

    Sessions make cycles only where they fail; looking for them was 4 % of a delivery.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER_OBJECTS, 20, 20)


def drop_root(data_dir: Path, identity: Identity | None) -> None:
    """What root has made until now is handed over first."""
    if identity is None:
        return
    hand_over(data_dir, identity)
    if drop(identity):
        log.info("privileges dropped", user=identity.user)


def outside_of(config: Config, world: World) -> Outside:
    """Certificates, authorities and DNS servers as this machine has them.

    Raises OSError, ssl.SSLError.
    """
    tls_server, tls_asking = listeners_tls(config, world)
    return Outside(
        dns_servers=dns_servers(config),
        tls_server=tls_server,
        tls_asking=tls_asking,
        tls_client=client_config(verify=False),
        tls_verifying=client_config(verify=True),
        own_addresses=_own_addresses(),
        memory=resident_octets,
        disk_free=partial(free_octets, Path(config.server.data_dir)),
    )


def certificate_files(config: Config, world: World) -> list[tuple[Path, Path]]:
    """(certificate, key) of each; one that signs itself is made where it was asked for."""
    found = [(Path(c.certificate), Path(c.key)) for c in config.tls.certificates]
    if not found and config.tls.self_signed:
        found = [_self_signed(config, world)]
    return found


def listeners_tls(config: Config, world: World) -> tuple[ServerTls | None, ServerTls | None]:
    """For all, and for those that people log in at. Raises OSError, ssl.SSLError."""
    certificates = certificate_files(config, world)
    authorities = config.tls.client_authorities
    if not certificates:
        return None, None
    bind = config.tls.channel_binding
    asking = None
    if authorities:
        asking = server_config(certificates, client_ca=authorities, bind=bind)
    return server_config(certificates, bind=bind), asking


def certificate_watch(installation: Installation, meter: Meter) -> CertificateWatch:
    """Over the files that the settings name at the time."""
    world = installation.world

    def watched() -> Watched:
        config = installation.config
        pairs = certificate_files(config, world)
        others = [str(key) for _, key in pairs]
        if config.tls.client_authorities:
            others.append(config.tls.client_authorities)
        return Watched(tuple(str(certificate) for certificate, _ in pairs), tuple(others))

    def renew() -> None:
        config = installation.config
        check_tls_files(config.tls)  # it names the file at fault
        installation.show(*listeners_tls(config, world))

    return CertificateWatch(
        RealFiles(),
        world.clock,
        meter,
        watched=watched,
        renew=renew,
        warn_seconds=lambda: installation.config.tls.warn_before_expiry,
    )


def dns_servers(config: Config) -> tuple[Endpoint, ...]:
    """Those of the configuration, else those of this machine."""
    servers = tuple(parse_endpoint(server) for server in config.dns.servers)
    return servers or tuple(parse_resolv_conf(_text_of(RESOLV_CONF)).servers)


def _own_addresses() -> tuple[str, ...]:
    try:
        return own_addresses()
    except OSError as error:
        # Only mail for a domain that names us as its MX, and is not ours, needs them.
        log.warning("addresses of this machine are not known", error=str(error))
        return ()


def _self_signed(config: Config, world: World) -> tuple[Path, Path]:
    """Made once, kept in the data directory; by one worker, while the others wait."""
    folder = Path(config.server.data_dir) / "certificates"
    chain, key = folder / f"{config.server.hostname}.pem", folder / f"{config.server.hostname}.key"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (chain.exists() and key.exists()):
            authority = Authority(f"{config.server.hostname} self-signed", world.clock.now())
            authority.write(folder / "authority.pem")
            return authority.issue([config.server.hostname], folder)
    finally:
        os.close(lock)
    return chain, key


def _text_of(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
