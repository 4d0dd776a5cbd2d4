"""What a crew is made of, one by one: messages, slots, sums, the board, lines of the log."""

from __future__ import annotations

import fcntl
import io
import os
import random
import select
import socket
import threading
from pathlib import Path

import pytest

from estafeta.office import tenure
from estafeta.office.config import Config, Listener, Server
from estafeta.office.crew.berths import Berth, bind_all
from estafeta.office.crew.board import Board
from estafeta.office.crew.messages import (
    Answer,
    Bury,
    Decoder,
    Ready,
    Reload,
    Reply,
    Sample,
    encode,
)
from estafeta.office.crew.messages import Family as F
from estafeta.office.crew.slot import Slot
from estafeta.office.crew.tally import families_of, lasting, registry_of, summed
from estafeta.office.limits import WORKER_PAUSES, WORKER_STEADY_SECONDS
from estafeta.office.log_lines import Lines
from estafeta.office.metrics import PrometheusMeter, render
from estafeta.office.node import life_of, node_of

MX = Listener(role="mx", address="127.0.0.1", port=0, tls="none")


def test_messages_arrive_however_they_are_cut() -> None:
    sent = [
        Ready(),
        Bury([1, 2]),
        Reload(Config(server=Server(workers=3))),
        Answer(7, Reply(health={"store": "ñ"})),
    ]
    data = b"".join(map(encode, sent))
    decoder = Decoder()
    found = [m for n in range(len(data)) for m in decoder.feed(data[n : n + 1])]
    assert found == sent
    with pytest.raises(ValueError, match="octets"):
        list(decoder.feed(b"\xff\xff\xff\xff"))


def test_who_dies_young_is_put_off_and_in_the_end_given_up() -> None:
    slot = Slot(1, Berth())
    assert [slot.vacate(100.0) for _ in WORKER_PAUSES] == [100.0 + p for p in WORKER_PAUSES]
    slot.serve(200.0)
    slot.pid = 0
    # One that served for a while begins anew …
    assert slot.vacate(200.0 + WORKER_STEADY_SECONDS) == 200.0 + WORKER_STEADY_SECONDS
    for _ in WORKER_PAUSES[1:]:
        slot.serve(300.0)
        assert slot.vacate(300.0 + WORKER_STEADY_SECONDS / 2) is not None
    # … one that does not, does not go on for ever.
    assert slot.vacate(300.0) is None


def test_pages_of_all_are_one() -> None:
    one, other = PrometheusMeter(strict=True), PrometheusMeter(strict=True)
    for meter, count, rows in ((one, 3, 5), (other, 4, 6)):
        meter.count("imap_sessions", count)
        meter.gauge("imap_sessions", count)
        meter.gauge("queue_rows", rows)
        meter.observe("relay_seconds", 0.2)
        meter.count("logins", protocol="imap", result="ok")
    other.count("logins", protocol="pop3", result="ok")
    dead = lasting(families_of(one.registry))
    registry = registry_of(summed([families_of(one.registry), families_of(other.registry), dead]))
    text = render(registry)[0].decode()
    for line in (
        "estafeta_imap_sessions_total 10.0",  # the dead one counts
        "estafeta_imap_sessions_now 7.0",  # but is not there
        "estafeta_queue_rows 6.0",  # all see the same rows
        "estafeta_relay_seconds_count 3.0",
        'estafeta_relay_seconds_bucket{le="0.25"} 3.0',
        'estafeta_logins_total{protocol="imap",result="ok"} 3.0',
        'estafeta_logins_total{protocol="pop3",result="ok"} 1.0',
    ):
        assert line in text.splitlines(), line
    assert text.count("# TYPE estafeta_logins_total counter") == 1
    assert summed([]) == []
    assert summed([[F("a", "counter", "", [Sample("a_total", {}, 1)])]])[0].samples[0].value == 1


def test_the_board_counts_for_all_and_forgets_the_dead() -> None:
    board = Board(3, b"k" * 16)
    one, two, three = (board.places(n, MX) for n in (1, 2, 3))
    dice = random.Random(5)
    hosts = [f"198.51.100.{n}" for n in range(200)]
    for host in hosts:
        dice.choice((one, two, three)).take(host)
    for places in (one, two, three):
        assert places.taken_everywhere() == 200
        assert [places.of_client_everywhere(host) for host in hosts] == [1] * 200
        assert places.of_client_everywhere("203.0.113.1") == 0
        assert places.of_network_everywhere("198.51.100.0/24") == 200
        assert places.of_network_everywhere("203.0.113.0/24") == 0
    left = one.taken
    for host in list(one.by_client):
        one.leave(host)
    assert two.taken_everywhere() == 200 - left
    assert two.of_network_everywhere("198.51.100.0/24") == 200 - left
    gone = two.taken
    board.clear(2)
    assert three.taken_everywhere() == 200 - left - gone
    assert board.places(3, Listener(role="mx", port=26)).taken_everywhere() == 0


def test_a_berth_that_is_paused_gets_no_connections() -> None:
    berths = bind_all(Config(listener=[MX]), 2)
    first, second = (berth.sockets[0] for berth in berths)
    second.listen(100)
    at = first.getsockname()
    assert second.getsockname() == at

    def come(count: int) -> None:
        for _ in range(count):
            socket.create_connection(at, timeout=5).close()

    def waiting(of: socket.socket) -> int:
        count = 0
        while select.select([of], [], [], 0.05)[0]:
            of.accept()[0].close()
            count += 1
        return count

    come(60)
    assert waiting(first)
    assert waiting(second)
    berths[1].pause()
    come(60)
    assert waiting(first) == 60
    second.listen(100)
    come(60)
    assert waiting(second)
    with socket.socket() as another:
        another.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            another.bind(at)
    for berth in berths:
        berth.close()


def test_lines_of_several_processes_do_not_mix() -> None:
    class Pieces(io.StringIO):
        def __init__(self) -> None:
            super().__init__()
            self.written: list[str] = []

        def write(self, text: str) -> int:
            self.written.append(text)
            return len(text)

    stream = Pieces()
    lines = Lines(stream, shared=True)
    texts = [f"{n:04} {'ñ' * (n % 900)}\n" for n in range(300)] + ["x" * 9000 + "\n"]
    lines._waiting.extend(texts)
    lines.flush()
    assert "".join(stream.written) == "".join(texts)
    assert all(
        len(piece.encode()) <= select.PIPE_BUF or piece.count("\n") == 1 for piece in stream.written
    )
    assert len(stream.written) < len(texts)


def test_a_start_waits_for_the_workers_of_who_was_killed(tmp_path: Path) -> None:
    store = tmp_path / "e.db"
    child = os.fork()
    if child == 0:
        tenure.Tenure(store)
        os._exit(0)
    os.waitpid(child, 0)
    # As a worker of it has inherited it.
    orphan = os.open(f"{store}{tenure.SUFFIX}", os.O_RDWR)
    fcntl.flock(orphan, fcntl.LOCK_EX)
    ended = threading.Timer(0.3, os.close, [orphan])
    ended.start()
    with tenure.Tenure(store):
        assert not ended.is_alive() or ended.finished.is_set()
    ended.join()


def test_a_node_keeps_its_name(tmp_path: Path) -> None:
    dice = random.Random(1)
    assert node_of(tmp_path, dice) == node_of(tmp_path, dice)
    (tmp_path / "b").mkdir()
    assert node_of(tmp_path / "b", dice) != node_of(tmp_path, dice)
    shared = Config(server=Server(data_dir=str(tmp_path), store="postgresql://x@db/e"))
    alone = Config(server=Server(data_dir=str(tmp_path), store="sqlite:///e.db"))
    assert not life_of(shared, dice).alone
    assert life_of(alone, dice).alone
    assert life_of(alone, dice).run != life_of(alone, dice).run
