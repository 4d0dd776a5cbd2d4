"""What a configuration comes to: as rows that say where they are from, and as a file."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from estafeta.office.config_read import ConfigError, parse_config, read_config
from estafeta.office.config_types import format_duration, parse_duration
from estafeta.office.settings_shown import as_toml, effective
from estafeta.office.settings_table import FIXED_AT_START, quoted, sections

Run = Callable[..., Any]

TEXT = """\
[server]
hostname = "h.example"
data_dir = "/srv/e \\\\ \\"x\\" ñ \\u0007"
[smtp]
size_max = "10MB"
greeting_delay = 0.0625
relay_networks = [
  "192.0.2.0/24",
]
[queue]
retry = ["1500ms", "1h"]
[[listener]]
role = "mx"
port = 2525
tls = "none"
[[listener]]
role = "lmtp"
path = "lmtp"
[[relay.routes]]
domain = "*"
hosts = ["s.example"]
username = "u"
password = 'hunter"2'
[[relay.routes]]
domain = "b.example"
hosts = ["[2001:db8::1]"]
[[queue.domains]]
domain = "slow.example"
rate = 10
[[lists.dns]]
zone = "list.example.net"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "e.toml"
    path.write_text(TEXT)
    return path


def test_each_setting_says_where_it_is_from(estafeta: Run, file: Path) -> None:
    done = estafeta("config", "show", "--json", "-c", str(file))
    shown = json.loads(done.out)
    assert shown["file"] == str(file)
    rows = {row["key"]: (row["value"], row["line"]) for row in shown["settings"]}
    assert rows["server.hostname"] == ("h.example", 2)
    assert rows["server.language"] == ("en", None)
    assert rows["smtp.size_max"] == (10_000_000, 5)
    assert rows["smtp.greeting_delay"] == (0.0625, 6)
    assert rows["smtp.relay_networks"] == (["192.0.2.0/24"], 7)
    assert rows["listener[0].port"] == (2525, 14)
    assert rows["listener[1].path"] == (str(file.parent / "lmtp"), 18)
    assert rows["listener[1].tls"] == ("none", None)
    assert rows["relay.routes[0].password"] == ("***", 23)
    assert rows["relay.routes[1].password"] == ("", None)
    text = estafeta("config", "show", "-c", str(file)).out
    assert [line.split() for line in text.splitlines() if "listener[0].port" in line] == [
        ["listener[0].port", "2525", "line", "14"]
    ]


@pytest.mark.parametrize("form", [(), ("--json",), ("--toml",)])
def test_passwords_are_shown_to_who_asks_for_them_only(
    estafeta: Run, file: Path, form: tuple[str, ...]
) -> None:
    hidden = estafeta("config", "show", *form, "-c", str(file)).out
    assert "***" in hidden
    assert "hunter" not in hidden
    assert "hunter" in estafeta("config", "show", "--secrets", *form, "-c", str(file)).out


@pytest.mark.parametrize("form", [(), ("--json",), ("--toml",)])
def test_so_is_the_password_within_the_name_of_a_store(
    estafeta: Run, file: Path, form: tuple[str, ...]
) -> None:
    store = 'store = "postgresql://u:gehe1m@db/x"\n[smtp]'
    file.write_text(TEXT.replace("[smtp]", store))
    hidden = estafeta("config", "show", *form, "-c", str(file)).out
    assert "postgresql://u:***@db/x" in hidden
    assert "gehe1m" not in hidden
    assert "gehe1m" in estafeta("config", "show", "--secrets", *form, "-c", str(file)).out


def test_the_file_it_prints_is_the_same_configuration(file: Path) -> None:
    config = read_config(file)
    text = as_toml(config, file, secrets=True)
    assert parse_config(text, "again", base=Path("/elsewhere")) == config
    assert all(len(line) <= 98 for line in text.splitlines()[1:] if line.startswith("#"))
    hidden = tomllib.loads(as_toml(config, file))
    assert hidden["relay"]["routes"][0]["password"] == "***"


def test_the_file_it_prints_is_whole_and_explains_everything(file: Path) -> None:
    lines = as_toml(read_config(file), file).splitlines()
    text = " ".join(line.removeprefix("# ") for line in lines)
    for section in sections():
        if section.header != "[[tls.certificates]]":
            assert section.header in lines
            for setting in section.settings:
                if setting.takes == "tables":
                    continue  # they have a header of their own
                assert setting.about in text, setting.key


def test_json_and_toml_at_once_are_a_mistake(estafeta: Run, file: Path) -> None:
    assert estafeta("config", "show", "--json", "--toml", "-c", str(file)).code == 2


@pytest.mark.parametrize(
    "seconds", [0, 0.001, 0.0015, 1 / 3, 1e-7, 0.1 + 0.2, 59.9, 90, 3600, 5400, 86400 * 30]
)
def test_durations_are_written_as_what_reads_back_the_same(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize("text", ["", '"', "\\", "\\u0041", "a\nb\x7f\x00", "ñ 🐎", "\u2028"])
def test_texts_are_written_as_toml_reads_them(text: str) -> None:
    assert tomllib.loads(f"x = {quoted(text)}") == {"x": text}


def test_the_examples_of_the_page_are_taken() -> None:
    """Each example, put where it belongs, is accepted, in a file that holds them all."""
    assert parse_config(_file_of("example")) is not None


def test_the_defaults_of_the_page_are_the_defaults() -> None:
    usual = {s.key: s.written for s in effective(parse_config("[tls]\nself_signed = true\n"), {})}
    for section in sections():
        if section.header.startswith("[["):
            continue
        for setting in section.settings:
            key = f"{setting.table}.{setting.key}"
            if setting.default not in ("", '""') and key != "tls.self_signed":
                assert usual.get(key, setting.default) == setting.default, key


def test_every_setting_has_an_example_and_says_when_it_counts() -> None:
    for section in sections():
        for setting in section.settings:
            key = f"{section.header} {setting.key}"
            assert setting.example or setting.takes == "tables", f"{key}: example=… is missing"
            name = section.header.strip("[]") + ("[" if section.header[1] == "[" else ".")
            assert setting.restart == name.startswith(FIXED_AT_START), key


def _file_of(column: str) -> str:
    parts = []
    for section in sections():
        parts.append(section.header)
        for setting in section.settings:
            value = getattr(setting, column)
            # Either address and port or a path; a self-signed certificate or files.
            if value and (section.header, setting.key) not in (
                ("[[listener]]", "path"),
                ("[relay]", "source_ipv6"),
            ):
                parts.append(f"{setting.key} = {value}")
    assert len(parts) > 50
    return "\n".join(parts).replace('password_file = "/etc/estafeta/smarthost"', "")


def test_a_duration_without_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="a duration"):
        parse_config("[tls]\nself_signed = true\n[dns]\ntimeout = inf\n")
