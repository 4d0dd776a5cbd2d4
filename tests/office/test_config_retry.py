"""Retry plans in the configuration: what they may say, and which of them will never work."""

from __future__ import annotations

import pytest

from estafeta.office.assemble import _queue_settings
from estafeta.office.check.retry import check_retry
from estafeta.office.config import Config
from estafeta.office.config_read import ConfigError, parse_config

GOOD = "[tls]\nself_signed = true\n"


def parsed(text: str) -> Config:
    return parse_config(f"{GOOD}{text}", "f.toml")


WRONG = [
    ("retry = ['0s']", "queue.retry[0]", "at least 1s"),
    ("repeat = '500ms'", "queue.repeat", "at least 1s"),
    ("retry = []\nrepeat = '0s'", "queue.retry", "a wait was expected"),
    ("retry = ['1m']\nrepeat = '0s'\nretries_max = 2", "queue.retries_max", "1 at most"),
    ("give_up_after = '0s'", "queue.give_up_after", "nothing would end it"),
    ("retries_max = -1", "queue.retries_max", "0 or more"),
    ("per_destination_rate = -1", "queue.per_destination_rate", "0 or more"),
    ("host_backoff = '0s'", "queue.host_backoff", "at least 1s"),
    ("host_backoff = '2h'", "queue.host_backoff_max", "no less than host_backoff"),
    ("[[queue.domains]]\ndomain = '.'", "queue.domains[0].domain", "a domain"),
    (
        "[[queue.domains]]\ndomain = 'a.example'\n[[queue.domains]]\ndomain = 'A.example'",
        "queue.domains[1].domain",
        "queue.domains[0] has it",
    ),
    (
        "[[queue.domains]]\ndomain = 'a.example'\nconcurrency = 0",
        "queue.domains[0].concurrency",
        "1 or more",
    ),
    (
        "[[queue.domains]]\ndomain = 'a.example'\ngive_up_after = '0s'",
        "queue.domains[0].give_up_after",
        "nothing would end it",
    ),
    (
        "[[queue.domains]]\ndomain = 'a.example'\nretry = ['1m']\nrepeat = '0s'\nretries_max = 9",
        "queue.domains[0].retries_max",
        "1 at most",
    ),
    ("[[queue.domains]]\nretry = ['1m']", "queue.domains[0]", '"domain" is missing'),
]


@pytest.mark.parametrize(("text", "key", "expected"), WRONG)
def test_wrong_combinations_are_named(text: str, key: str, expected: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parsed(f"[queue]\n{text}")
    found = {problem.key: problem.expected for problem in raised.value.problems}
    assert expected in found[key]


@pytest.mark.parametrize(
    "text",
    [
        "retry = ['1m', '2m']\nrepeat = '0s'\ngive_up_after = '0s'",
        "retry = ['1m']\nretries_max = 5\ngive_up_after = '0s'",
        "retry = []\nrepeat = '1h'",
        "retry = ['1m', '2m']\nrepeat = '0s'\nretries_max = 2",
    ],
)
def test_each_way_to_end_it_is_enough(text: str) -> None:
    parsed(f"[queue]\n{text}")


def test_what_is_not_said_of_a_domain_is_as_for_all() -> None:
    config = parsed(
        "[server]\nworkers = 2\n"
        "[queue]\nretry = ['1m']\nper_destination_rate = 30\n"
        "[[queue.domains]]\ndomain = '.A.example'\nrepeat = '0s'\ngive_up_after = '2d'\n"
        "[[queue.domains]]\ndomain = '*'\nretry = ['5m']\nretries_max = 3\nconcurrency = 8\n"
        "rate = 0\n"
    )
    first, second = config.queue.domains
    assert first.domain == ".a.example"
    assert (first.retry, first.repeat, first.give_up_after) == ([60.0], 0.0, 172800.0)
    assert (first.concurrency, first.rate, first.retries_max) == (20, 30, 0)
    assert (second.retry, second.repeat, second.give_up_after) == ([300.0], 21600.0, 432000.0)
    rules = _queue_settings(config).rules
    found = rules.of("x.a.example")
    assert (found.plan.intervals, found.plan.repeat) == ((60.0,), 0.0)
    assert (found.concurrency, found.rate) == (10, 15)  # of each worker
    other = rules.of("b.example")
    assert (other.plan.retries_max, other.concurrency, other.rate) == (3, 4, 0)


@pytest.mark.parametrize(
    ("text", "level", "says"),
    [
        ("", "ok", "given up after 5d"),
        ("retry = ['1m']\nrepeat = '0s'\ngive_up_after = '0s'", "ok", "1 waits"),
        ("retries_max = 3", "ok", "after 3 retries at most"),
        ("give_up_after = '1h'", "warning", "from number 5 of `retry` on are never used"),
        ("retry = ['1h']\nretries_max = 30\ngive_up_after = '1d'", "warning", "30 retries take"),
        (
            "[[queue.domains]]\ndomain = 'a.example'\ngive_up_after = '10m'",
            "warning",
            "[[queue.domains]] a.example: waits from number 3",
        ),
        (
            "concurrency = 10\n[[queue.domains]]\ndomain = 'a.example'\nconcurrency = 50",
            "warning",
            "concurrency 50 is more than that of all together, 10",
        ),
    ],
)
def test_what_will_never_be_reached_is_warned_of(text: str, level: str, says: str) -> None:
    found = list(check_retry(parsed(f"[queue]\n{text}")))
    assert [each.level for each in found] == [level]
    assert says in found[0].text
