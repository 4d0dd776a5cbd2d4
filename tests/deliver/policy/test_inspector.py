"""Inspector: what is looked at beside other work, what apart, and what an answer costs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import pytest
from tests.deliver.policy.letters import MOV, attached, in_loop, zipped

from estafeta.deliver.policy import inspector as inspector_file
from estafeta.deliver.policy.finding import Finding, Late
from estafeta.deliver.policy.inspector import Inspector
from estafeta.deliver.policy.limits import SMALL_OCTETS_MAX
from estafeta.deliver.policy.plain import plain_type
from estafeta.deliver.policy.rules import Effective, HeaderRule, Rules, effective
from estafeta.mail.protocols import Bytes
from estafeta.office.metrics import PrometheusMeter
from estafeta.store.bodies import Body
from estafeta.world.seams import World

MOVS = effective([Rules(blocked_types=(".mov",))])


class Apart:
    """Another process, that answers as it is told, and counts."""

    def __init__(self, answer: Callable[..., Awaitable[Any]] | None = None) -> None:
        self.given: list[Any] = []
        self._answer = answer

    async def apart(self, work: Callable[..., Any], *arguments: Any) -> Any:
        self.given.append(arguments[0])
        return await self._answer() if self._answer else work(*arguments)

    run = apart


def stand(cpu: Apart) -> tuple[Inspector, PrometheusMeter]:
    metrics = PrometheusMeter(strict=True)
    world = World(None, random.Random(1), None, None, cpu)  # type: ignore[arg-type]
    return Inspector(world, metrics), metrics


async def look(data: bytes, rules: Effective, cpu: Apart | None = None) -> Any:
    return await stand(cpu or Apart())[0].look(Body(1, data), rules)


LARGE = attached("a.pdf", random.Random(3).randbytes(40_000))


@in_loop
async def test_a_small_message_is_looked_at_here_and_a_large_one_apart() -> None:
    cpu = Apart()
    assert await look(attached("a.mov"), MOVS, cpu) == Finding("type", "a.mov", ".mov")
    assert cpu.given == []
    assert len(LARGE) > SMALL_OCTETS_MAX
    assert await look(LARGE, MOVS, cpu) is None
    assert cpu.given == [LARGE]
    assert await look(attached("film.mov", bytes(40_000)), MOVS, cpu) is not None


@in_loop
async def test_a_small_bomb_goes_apart() -> None:
    cpu = Apart()
    small = attached("a.zip", zipped({"b.zip": zipped({"c.txt": bytes(4 << 20)})}))
    assert len(small) < SMALL_OCTETS_MAX
    wide = attached("a.zip", zipped({f"{n}.txt": b"" for n in range(110)}))
    for message in (small, wide):
        if len(message) > SMALL_OCTETS_MAX:
            continue
        await look(message, MOVS, cpu)
    assert cpu.given


@in_loop
async def test_what_lies_in_a_file_is_read_and_goes_apart() -> None:
    cpu = Apart()
    inspector, _ = stand(cpu)
    message = attached("a.mov", bytes(3 << 20))
    assert await inspector.look(Body(1, Bytes(message)), MOVS) is not None
    assert cpu.given == [message]


@in_loop
async def test_nothing_is_looked_at_where_no_rule_asks() -> None:
    cpu = Apart()
    assert await stand(cpu)[0].look(Body(1, Bytes(LARGE)), effective([])) is None
    assert cpu.given == []


@in_loop
async def test_the_size_is_judged_without_reading() -> None:
    cpu = Apart()
    rules = effective([Rules(size_max=1000)])
    assert await look(LARGE, rules, cpu) == Finding("size")
    assert cpu.given == []


@pytest.mark.parametrize("size", [100, 200_000])
@in_loop
async def test_a_plain_message_is_never_sent_apart(size: int) -> None:
    cpu = Apart()
    rules = effective(
        [Rules(blocked_types=(".mov", "text/html"), headers=(HeaderRule("Subject", "lottery"),))]
    )
    text = b"x" * 70 + b"\r\n"
    head = b"Subject: %b\r\nContent-Type: %b; charset=utf-8\r\n\r\n"
    for subject, type, kind in (
        (b"hello", b"text/plain", None),
        (b"lottery", b"text/plain", "header"),
        (b"hello", b"text/html", "type"),
    ):
        got = await look(head % (subject, type) + text * (size // 72), rules, cpu)
        assert (got and got.kind) == kind
    assert cpu.given == []


@pytest.mark.parametrize(
    ("message", "type"),
    [
        (b"Subject: x\r\n\r\nhello", "text/plain"),
        (b"\r\nhello", "text/plain"),
        (b"Content-Type: TEXT/HTML\r\n\r\n<p>", "text/html"),
        (b"Content-Type: text/plain\r\nContent-Transfer-Encoding: 8BIT\r\n\r\nx", "text/plain"),
        (b"Content-Type: text/plain; name=a.mov\r\n\r\nx", ""),
        (b"Content-Type: text/plain; name*0=a.mov\r\n\r\nx", ""),
        (b"Content-Type: text/plain\r\nContent-Type: video/quicktime\r\n\r\nx", ""),
        (b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nx", ""),
        (b"Content-Disposition: attachment\r\n\r\nx", ""),
        (b"CONTENT-TYPE: multipart/mixed; boundary=b\r\n\r\nx", ""),
        (b"Content-Type: application/x\r\n\r\nx", ""),
        (b"Subject: x\r\n\r\nbegin 644 a.mov\r\n", ""),
        (b"X: " + b"a" * 300_000 + b"\r\n\r\nx", ""),
    ],
)
def test_what_is_plain(message: bytes, type: str) -> None:
    assert plain_type(message) == type


@in_loop
async def test_what_takes_too_long_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspector_file, "INSPECT_SECONDS_MAX", 0.05)

    async def never() -> None:
        await asyncio.sleep(60)

    inspector, metrics = stand(Apart(never))
    assert await inspector.look(Body(1, LARGE), MOVS) == Late()
    assert metrics.value("estafeta_policy_findings_total", kind="late") == 1
    assert metrics.value("estafeta_policy_inspections_apart_total") == 1


@in_loop
async def test_a_process_that_dies_is_no_answer() -> None:
    async def dies() -> None:
        raise BrokenProcessPool("killed")

    assert await look(LARGE, MOVS, Apart(dies)) == Late()


@in_loop
async def test_few_are_held_in_hand_at_once() -> None:
    ready = asyncio.Event()
    now = most = 0

    async def slow() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await ready.wait()
        now -= 1

    inspector, _ = stand(Apart(slow))
    tasks = [asyncio.create_task(inspector.look(Body(1, LARGE), MOVS)) for _ in range(20)]
    await asyncio.sleep(0.05)
    ready.set()
    await asyncio.gather(*tasks)
    assert most == inspector_file.INSPECTED_AT_ONCE


@in_loop
async def test_an_expensive_expression_is_searched_apart() -> None:
    cpu = Apart()
    rules = effective([Rules(headers=tuple([HeaderRule("Subject", "(a?){200}a{200}")] * 20))])
    await look(b"Subject: " + b"a" * 20_000 + b"\r\n\r\nx", rules, cpu)
    assert len(cpu.given) == 1
    await look(b"Subject: a\r\n\r\nx", rules, cpu)
    assert len(cpu.given) == 1


@in_loop
async def test_findings_are_counted() -> None:
    inspector, metrics = stand(Apart())
    await inspector.look(Body(1, attached("a.txt", MOV)), MOVS)
    await inspector.look(Body(1, attached("a.txt")), MOVS)
    assert metrics.value("estafeta_policy_findings_total", kind="type") == 1


@pytest.mark.parametrize(
    ("message", "type"),
    [
        (b"Content-Type: text/html;\r\n charset=utf-8\r\n\r\nx", "text/html"),
        (b"Content-Type: text/plain;\r\n name=a.mov\r\n\r\nx", ""),
        (b"Content-Type: text/plain;\n\tname=a.mov\n\nx", ""),
        (b"Content-Type : text/plain\r\n\r\nx", ""),
        (b"Content-Type\r\n\r\nx", ""),
        (b"X: a\r\n Content-Type: multipart/mixed\r\n\r\nx", "text/plain"),
    ],
)
def test_fields_that_are_folded_or_badly_written(message: bytes, type: str) -> None:
    assert plain_type(message) == type
