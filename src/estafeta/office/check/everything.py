"""Everything: the whole of `estafeta config check`, in the order in which `serve` would meet it."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Sequence
from pathlib import Path

from estafeta.office.check.dns import check_dns
from estafeta.office.check.finding import Finding, error, ok
from estafeta.office.check.objects import check_objects
from estafeta.office.check.people import check_data_dir, check_private, check_user
from estafeta.office.check.ports import check_limit, check_ports
from estafeta.office.check.retry import check_retry
from estafeta.office.check.store import check_store, store_servers
from estafeta.office.check.tls import check_tls
from estafeta.office.config import Config
from estafeta.office.config_read import ConfigError, read_config
from estafeta.office.privileges import Identity, PrivilegeError, find_identity
from estafeta.world.seams import Endpoint, World

FILE = "file"


def read_checked(file: Path) -> tuple[Config | None, list[Finding]]:
    """The configuration, or a finding for each thing that is wrong with its file."""
    try:
        config = read_config(file)
    except ConfigError as wrong:
        return None, [error(FILE, str(problem)) for problem in wrong.problems]
    return config, [ok(FILE, f"{file} is right")]


async def check_machine(
    config: Config, file: Path, world: World, servers: Sequence[Endpoint]
) -> list[Finding]:
    """What the file speaks of. servers: of the DNS, as the server would ask them."""
    findings = list(_local(config, file, world))
    findings += await check_dns(servers, world, config.dns.timeout)
    findings += await check_objects(config)
    return findings


def _local(config: Config, file: Path, world: World) -> Iterator[Finding]:
    yield from check_user(config)
    identity = _identity(config)
    yield from _secrets(config, file, identity)
    yield from check_data_dir(config, identity)
    yield from check_tls(config, identity, world.clock.now())
    yield from check_store(config.server.store)
    yield from check_ports(config, store_servers(config.server.store))
    yield from check_retry(config)
    yield check_limit(config, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _secrets(config: Config, file: Path, identity: Identity | None) -> Iterator[Finding]:
    """Passwords of routes and the key of the bucket: in files of their own, or in this one."""
    s3 = config.s3
    in_here = any(route.password and not route.password_file for route in config.relay.routes)
    if in_here or (s3.secret_access_key and not s3.secret_access_key_file):
        yield from check_private("password", file, identity)
    for route in config.relay.routes:
        if route.password_file:
            yield from check_private("password", Path(route.password_file), identity)
    if s3.secret_access_key_file:
        yield from check_private("password", Path(s3.secret_access_key_file), identity)


def _identity(config: Config) -> Identity | None:
    try:
        return find_identity(config.server.user, config.server.group)
    except PrivilegeError:
        return None
