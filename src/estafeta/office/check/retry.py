"""Retry: retry plans of which a part will never be reached."""

from __future__ import annotations

from collections.abc import Iterator

from estafeta.office.check.finding import Finding, ok, warning
from estafeta.office.config import Config, Queue, QueueDomain
from estafeta.office.config_types import format_duration

ABOUT = "retry plan"


def check_retry(config: Config) -> Iterator[Finding]:
    """Of all domains together, and of each that has its own."""
    queue = config.queue
    found = list(_unreached(queue, "[queue]"))
    for domain in queue.domains:
        found += _unreached(domain, f"[[queue.domains]] {domain.domain}")
        if domain.concurrency > queue.concurrency:
            found.append(
                warning(
                    ABOUT,
                    f"[[queue.domains]] {domain.domain}: concurrency {domain.concurrency} is more "
                    f"than that of all together, {queue.concurrency}",
                )
            )
    yield from found or [ok(ABOUT, _in_words(queue))]


def _unreached(plan: Queue | QueueDomain, name: str) -> Iterator[Finding]:
    age, passed = plan.give_up_after, 0.0
    for n, wait in enumerate(plan.retry):
        if age and passed >= age:
            yield warning(
                ABOUT,
                f"{name}: waits from number {n + 1} of `retry` on are never used: a message is "
                f"given up after {format_duration(age)}",
            )
            return
        passed += wait
    if age and plan.retries_max:
        more = max(0, plan.retries_max - len(plan.retry))
        least = sum(plan.retry[: plan.retries_max]) + more * plan.repeat
        if least > age:
            yield warning(
                ABOUT,
                f"{name}: {plan.retries_max} retries take {format_duration(least)}, but a message "
                f"is given up after {format_duration(age)}",
            )


def _in_words(queue: Queue) -> str:
    ends = []
    if queue.give_up_after:
        ends.append(f"given up after {format_duration(queue.give_up_after)}")
    if queue.retries_max:
        ends.append(f"after {queue.retries_max} retries at most")
    if not ends or not queue.repeat:
        ends.append(f"{len(queue.retry)} waits")
    return ", ".join(ends)
