"""Logs: their form, and what they never say."""

from __future__ import annotations

import io
import json
import logging

import pytest
import structlog

from estafeta.office.logs import VALUE_CHARACTERS_MAX, set_up_logs

pytestmark = pytest.mark.usefixtures("plain_logs")


def logged(format: str = "json", level: str = "info") -> io.StringIO:
    to = io.StringIO()
    set_up_logs(format, level, to)  # type: ignore[arg-type]
    return to


def test_a_line_is_json_with_a_time_in_utc() -> None:
    to = logged()
    structlog.get_logger().info("accepted", queue_id="01", octets=5)
    line = json.loads(to.getvalue())
    assert line["event"] == "accepted"
    assert line["level"] == "info"
    assert line["octets"] == 5
    assert line["timestamp"].endswith("Z")


def test_secrets_are_blotted_out_whoever_logs_them() -> None:
    to = logged()
    structlog.get_logger().warning("login", password="hunter2", auth_token=b"abc", user="u")
    line = json.loads(to.getvalue())
    assert line["password"] == line["auth_token"] == "***"
    assert "hunter2" not in to.getvalue()
    assert line["user"] == "u"


def test_what_a_stranger_sends_is_cut() -> None:
    to = logged()
    structlog.get_logger().info("hello", name=b"\xff" + b"a" * 10_000, other="b" * 10_000)
    line = json.loads(to.getvalue())
    assert len(line["name"]) == len(line["other"]) == VALUE_CHARACTERS_MAX + 1
    assert line["name"].startswith("\\xffaaa")


def test_a_line_stays_one_line() -> None:
    to = logged()
    structlog.get_logger().info("hello", name="a\r\nfake: line")
    assert to.getvalue().count("\n") == 1


def test_levels_below_are_left_out() -> None:
    to = logged(level="warning")
    structlog.get_logger().info("no")
    logging.getLogger("x").info("no")
    assert to.getvalue() == ""


def test_the_standard_library_takes_the_same_form() -> None:
    to = logged()
    logging.getLogger("asyncio").error("slow %s", "thing")
    line = json.loads(to.getvalue())
    assert line["event"] == "slow thing"
    assert line["logger"] == "asyncio"


def test_auto_is_json_off_a_terminal_and_pretty_is_not_json() -> None:
    to = logged("auto")
    structlog.get_logger().info("x")
    json.loads(to.getvalue())
    to = logged("pretty")
    structlog.get_logger().info("x", a=1)
    assert "a=1" in to.getvalue()


def test_a_bug_leaves_its_stack() -> None:
    to = logged()
    try:
        raise ValueError("inside")
    except ValueError:
        structlog.get_logger().exception("failed")
    assert "ValueError: inside" in json.loads(to.getvalue())["exception"]
