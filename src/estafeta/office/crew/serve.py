"""Serve: one installation as several processes of this machine."""

from __future__ import annotations

import dataclasses
import gc
import os
from functools import partial
from pathlib import Path

import msgspec
import structlog
from prometheus_client import CollectorRegistry

import estafeta
from estafeta.office.config import Config
from estafeta.office.crew.berths import BerthNet, bind_all
from estafeta.office.crew.board import Board
from estafeta.office.crew.member import Member
from estafeta.office.crew.messages import Failed, Reply, Topic, encode
from estafeta.office.crew.supervisor import Birth, Supervisor
from estafeta.office.crew.tally import families_of, registry_of, summed
from estafeta.office.errors import CommandError, DoorError, explain_startup_error
from estafeta.office.http import Health, check_all
from estafeta.office.logs import set_up_logs
from estafeta.office.node import life_of
from estafeta.office.objects import objects_of
from estafeta.office.privileges import (
    Identity,
    PrivilegeError,
    find_identity,
    prepare_folder,
)
from estafeta.office.service import Service, say_ready
from estafeta.office.serving import (
    Built,
    build,
    calm_collector,
    drop_root,
    read_good_config,
    warn_of_restart,
)
from estafeta.office.settings_table import FIXED_AT_START
from estafeta.office.signals import handled_for_worker
from estafeta.office.tenure import tenure_of
from estafeta.queue.holders import Life
from estafeta.store.engine import StoreError
from estafeta.world.dice import system_dice
from estafeta.world.real import real_world, run

_BOARD_KEY_OCTETS = 16

log = structlog.get_logger("supervisor")


def serve(config: Config, *, config_file: Path, ready_fd: int | None = None) -> None:
    """Until SIGTERM or SIGINT. Raises what `errors.explain_startup_error` explains."""
    identity = find_identity(config.server.user, config.server.group)
    data_dir = Path(config.server.data_dir)
    prepare_folder(data_dir, identity)
    with tenure_of(config.server):
        berths = bind_all(config, config.server.workers)
        # From here on nobody is root: workers are born as who serves.
        drop_root(data_dir, identity)
        _must_read_program(identity)
        dice = system_dice()
        life = life_of(config, dice)
        board = Board(config.server.workers, dice.randbytes(_BOARD_KEY_OCTETS))

        def read(running: Config) -> Config:
            fresh = read_good_config(config_file)
            warn_of_restart(running, fresh)
            return _what_may_change(running, fresh)

        def ready() -> None:
            log.info("ready", workers=config.server.workers)
            say_ready(ready_fd)

        # What is there now stays, and is shared by all for as long as nobody writes to it.
        gc.collect()
        gc.freeze()
        supervisor = Supervisor(
            config,
            berths,
            work=lambda birth: work(birth, life, board, ready_fd),
            read=read,
            ready=ready,
            died=board.clear,
        )
        supervisor.run()


def _must_read_program(identity: Identity | None) -> None:
    """A worker still loads modules and reads files of ours; better said now than in its stack.

    Raises PrivilegeError.
    """
    for file in (os.__file__, estafeta.__file__):
        if identity is not None and not os.access(file, os.R_OK):
            raise PrivilegeError(
                f"{identity.user} cannot read the program ({file}): install it where that user can"
            )


def _what_may_change(running: Config, fresh: Config) -> Config:
    """`fresh`, but for what all workers keep until a restart: one born later is as the others."""
    kept = {key.rstrip(".[") for key in FIXED_AT_START}
    return msgspec.structs.replace(
        fresh,
        **{name: getattr(running, name) for name in kept if hasattr(running, name)},
    )


def work(birth: Birth, life: Life, board: Board, ready_fd: int | None) -> int:
    """What a worker does, in its own process; its exit code."""
    config = birth.config
    lines = set_up_logs(config.log.format, config.log.level, worker=birth.number)
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        os.environ.pop(name, None)  # the supervisor speaks for all
    if birth.first and ready_fd is not None:
        os.close(ready_fd)
    last_words = birth.channel.dup()  # the loop closes the other
    try:
        run(_work(birth, life, board))
    except (CommandError, DoorError, PrivilegeError, StoreError, OSError) as problem:
        last_words.setblocking(True)
        last_words.sendall(encode(Failed(explain_startup_error(problem))))
        return 1
    finally:
        lines.flush()
    return 0


async def _work(birth: Birth, life: Life, board: Board) -> None:
    config = birth.config
    net = BerthNet(birth.berth)
    world = real_world(Path(config.server.data_dir), objects_of(config))
    world = dataclasses.replace(world, net=net)
    life = msgspec.structs.replace(life, life=birth.life)
    built = await build(config, world, life, partial(board.places, birth.number))
    member = Member(birth.channel, answer=_Answers(built), bury=built.installation.queue.bury)
    service = Service(
        built.components(colleagues=_Crew(member), bind=net.socket_at),
        after_start=member.say_ready,
        reload=lambda: built.reconfigure(member.fresh or config),
        reloaded=member.say_reloaded,
        stop_seconds=config.server.stop_seconds,
        handled=handled_for_worker,
    )
    calm_collector()
    await member.run(service)


class _Answers:
    """What this worker says of itself."""

    def __init__(self, built: Built) -> None:
        self._built = built

    async def __call__(self, topic: Topic) -> Reply:
        if topic == "health":
            return Reply(health=await check_all(self._built.checks))
        await self._built.meter.refresh()
        return Reply(metrics=families_of(self._built.meter.registry))


class _Crew:
    """See http.Colleagues."""

    def __init__(self, member: Member) -> None:
        self._member = member

    async def health(self) -> dict[int, Health]:
        found = await self._member.gather("health")
        health: dict[int, Health] = {n: reply.health for n, reply in found.replies.items()}
        health |= {n: {"worker": "does not answer"} for n in found.silent}
        return dict(sorted(health.items()))

    async def metrics(self) -> CollectorRegistry:
        found = await self._member.gather("metrics")
        return registry_of(summed([*(r.metrics for r in found.replies.values()), found.besides]))
