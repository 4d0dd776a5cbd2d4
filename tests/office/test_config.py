"""The configuration: what it takes, what it fills in, and how it says what is wrong."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from estafeta.office.config import Config
from estafeta.office.config_lines import locate
from estafeta.office.config_read import ConfigError, Problem, parse_config, read_config
from estafeta.office.config_types import (
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)
from estafeta.office.serving import waiting_for_restart

GOOD = "[tls]\nself_signed = true\n"


def problems(text: str) -> list[Problem]:
    with pytest.raises(ConfigError) as raised:
        parse_config(text, "f.toml", base=Path("/etc/estafeta"))
    return raised.value.problems


def test_defaults_open_the_usual_doors() -> None:
    config = parse_config(GOOD)
    doors = [(x.role, x.port, x.tls, x.address) for x in config.listener]
    assert doors == [
        ("mx", 25, "starttls", "*"),
        ("submission", 465, "implicit", "*"),
        ("submission", 587, "starttls", "*"),
        ("imap", 993, "implicit", "*"),
        ("imap", 143, "starttls", "*"),
        ("pop3", 995, "implicit", "*"),
        ("pop3", 110, "starttls", "*"),
        ("http", 8080, "none", "127.0.0.1"),
    ]
    assert config.smtp.plaintext_auth_networks == []
    assert config.smtp.relay_networks == []
    assert config.submission.remember_submissions


def test_what_depends_on_something_else_is_filled_in() -> None:
    config = parse_config(
        GOOD + '[server]\nhostname = "Mail.Example.org."\ndata_dir = "var"\n',
        base=Path("/srv/e"),
    )
    assert config.server.hostname == "mail.example.org"
    assert config.server.data_dir == "/srv/e/var"
    assert config.server.store == "sqlite:///srv/e/var/estafeta.db"
    assert config.server.postmaster == "postmaster@mail.example.org"
    assert config.relay.hello_name == "mail.example.org"


def test_written_forms_become_values() -> None:
    config = parse_config(
        GOOD + '[smtp]\nsize_max = "10MB"\nrelay_networks = ["192.0.2.0/24"]\n'
        '[queue]\nretry = ["5m", "1h30m"]\ngive_up_after = "5d"\n'
        '[dns]\nservers = ["127.0.0.1:5353", "::1", "192.0.2.1"]\n'
    )
    assert config.smtp.size_max == 10_000_000
    assert config.queue.retry == [300.0, 5400.0]
    assert config.queue.give_up_after == 432000.0
    assert config.dns.servers == ["127.0.0.1:5353", "[::1]:53", "192.0.2.1:53"]


@pytest.mark.parametrize(
    ("text", "line", "key", "expected", "nearest"),
    [
        ("[server]\nhostnam = 'x'", 2, "server.hostnam", "no such setting", "hostname"),
        ("[sever]\nhostname = 'x'", 1, "sever", "no such setting", "server"),
        ("[server]\n\nlanguage = 'fr'", 3, "server.language", '"en" or "es"', ""),
        ("[smtp]\nsize_max = true", 2, "smtp.size_max", "size was expected, not true", ""),
        ("[smtp]\nrecipients_max = 99", 2, "smtp.recipients_max", "at least 100", ""),
        ("[dns]\ntimeout = '5 fortnights'", 2, "dns.timeout", "a duration such as", ""),
        ("[relay]\nport = 70000", 2, "relay.port", "<= 65535", ""),
        ("[relay]\nno_mx = 'retry'", 2, "relay.no_mx", '"defer" or "bounce"', ""),
        ("[relay]\nsource_ipv4 = '::1'", 2, "relay.source_ipv4", "an IPv4 address", ""),
        ("[relay]\nsource_ipv6 = '192.0.2.1'", 2, "relay.source_ipv6", "an IPv6 address", ""),
        ("[relay]\nsource_ipv4 = 'eth0'", 2, "relay.source_ipv4", "an IP address", ""),
        ("[queue]\nretry = ['5m',\n 'x']", 3, "queue.retry[1]", "a duration", ""),
        ("[queue]\nretry = '5m'", 2, "queue.retry", "[duration, …]", ""),
        ("[[listener]]\nport = 25", 1, "listener[0]", '"role" is missing', ""),
        ("[[listener]]\nrole='mx'\n[[listener]]\nrole='m'", 4, "listener[1].role", '"mx" or', ""),
        ("smtp = 3", 1, "smtp", "a table was expected", ""),
        ("[tls]\ncertificates = [\n{certificat='x'}]", 3, "tls.certificates[0].certificat", "", ""),
        ("[[relay.routes]]\ndomain='x'\nhosts=[]", 3, "relay.routes[0].hosts", "at least one", ""),
        ("[server]\nstore = 'mysql://x'", 2, "server.store", "a store such as", ""),
        ("[server]\nhostname = 'a b'", 2, "server.hostname", "a host name such as", ""),
        ("[[listener]]\nrole='http'\ntls='implicit'", 3, "listener[0].tls", "none was", ""),
        ("[greylist]\nwindow = '5m'", 2, "greylist.window", "more than delay", ""),
        ("[server]\na = b", 2, "", "not TOML", ""),
    ],
)
def test_each_problem_has_key_line_expectation_and_neighbour(
    text: str, line: int, key: str, expected: str, nearest: str
) -> None:
    found = problems(text if "[tls]" in text or "smtp = 3" in text else f"{text}\n{GOOD}")
    first = next(problem for problem in found if problem.line == line)
    assert (first.line, first.key) == (line, key)
    assert expected in first.expected
    if nearest:
        assert first.nearest == nearest
    assert str(first).startswith(f"f.toml:{line}:")


def test_all_problems_of_a_file_are_found_in_order_of_lines() -> None:
    found = problems(f"[queue]\nrepeat = 'x'\n[server]\nlanguage = 'fr'\nb = 1\n{GOOD}")
    assert [p.line for p in found] == [2, 4, 5]


def test_tls_without_a_certificate_is_refused() -> None:
    assert "a certificate was expected" in problems("")[0].expected
    found = problems("[[listener]]\nrole = 'imap'\nport = 1993\ntls = 'implicit'")
    assert (found[0].line, found[0].key) == (1, "listener[0]")
    parse_config("[[listener]]\nrole = 'imap'\nport = 1143\ntls = 'none'")


def test_two_listeners_at_one_place_are_refused() -> None:
    one = "[[listener]]\nrole = 'mx'\nport = 2525\ntls = 'none'\n"
    found = problems(one + one)
    assert found[0].key == "listener[1]"
    assert "listener[0] has it" in found[0].expected


def test_no_page_is_behind_a_proxy_of_this_kind() -> None:
    proxy = "proxy_networks = ['192.0.2.0/24']\n"
    config = parse_config("[[listener]]\nrole = 'lmtp'\n" + proxy)
    assert config.listener[0].proxy_networks == ["192.0.2.0/24"]
    found = problems("[[listener]]\nrole = 'http'\n" + proxy)
    assert found[0].key == "listener[0].proxy_networks"
    assert "http takes no PROXY" in found[0].expected
    found = problems("[[listener]]\nrole = 'lmtp'\nproxy_networks = ['192.0.2.1/24']")
    assert "an IP network" in found[0].expected


def test_only_lmtp_has_a_unix_socket() -> None:
    config = parse_config("[[listener]]\nrole = 'lmtp'\npath = 's'", base=Path("/run"))
    assert config.listener[0].path == "/run/s"
    assert "only lmtp" in problems("[[listener]]\nrole='mx'\ntls='none'\npath='s'")[0].expected


def test_a_password_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3same\nmore\n")
    file = tmp_path / "e.toml"
    route = "[[relay.routes]]\ndomain = '*'\nhosts = ['smart']\nusername = 'u'\n"
    file.write_text(f"{GOOD}{route}password_file = 'secret'\n")
    assert read_config(file).relay.routes[0].password == "s3same"
    (tmp_path / "secret").unlink()
    with pytest.raises(ConfigError, match=r"e\.toml:7: .*no such file"):
        read_config(file)


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: no such file"):
        read_config(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_bytes(b"[server]\nhostname = '\xff'\n")
    with pytest.raises(ConfigError, match=r"bad\.toml:2: UTF-8"):
        read_config(tmp_path / "bad.toml")


def test_lines_are_found_in_every_form_of_toml() -> None:
    lines = locate(
        '# c\na.b = 1 # [x]\n[t."q.r"]\nm = """x\n[no]\ny = 1\n"""\nn = [1,\n  {k = "]", l = 2},\n'
        "  [3]] \n[[z]]\np = '''\n'''\n[[z]]\n[z.sub]\np = 2026-01-01T00:00:00Z\ns = '#'\n"
    )
    assert lines[("a", "b")] == 2
    assert lines[("t", "q.r", "m")] == 4
    assert lines[("t", "q.r", "n")] == 8
    assert lines[("t", "q.r", "n", 1, "l")] == 9
    assert lines[("t", "q.r", "n", 2, 0)] == 10
    assert lines[("z", 0, "p")] == 12
    assert lines[("z", 1)] == 14
    assert lines[("z", 1, "sub", "s")] == 17
    assert ("no",) not in lines


def test_durations_and_sizes_are_read_back_as_written() -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    dice = random.Random(seed)
    for _ in range(500):
        seconds = float(dice.randrange(10 ** dice.randrange(1, 8)))
        assert parse_duration(format_duration(seconds)) == seconds
        octets = dice.randrange(10 ** dice.randrange(1, 14))
        assert parse_size(format_size(octets)) == octets
    for bad in ("", "5", "m", "5m x", "x5m", "-5m", "5 m 3"):
        with pytest.raises(ValueError, match="a duration"):
            parse_duration(bad)
    for bad in ("", "MiB", "5 parsecs", "-1", "1.2.3"):
        with pytest.raises(ValueError, match="a size"):
            parse_size(bad)


def test_what_is_shown_can_be_compared() -> None:
    assert parse_config(GOOD) == parse_config(GOOD)
    assert msgspec.convert(msgspec.to_builtins(parse_config(GOOD)), Config) == parse_config(GOOD)


def test_what_a_reload_cannot_change_is_named() -> None:
    before = parse_config(f"{GOOD}[smtp]\nsize_max = '1MiB'\n[dns]\nservers = ['192.0.2.1']\n")
    assert waiting_for_restart(before, before) == []
    after = parse_config(
        f"{GOOD}[smtp]\nsize_max = '2MiB'\n[dns]\nservers = ['192.0.2.2']\n"
        "[[listener]]\nrole = 'mx'\nport = 2525\n"
    )
    named = waiting_for_restart(before, after)
    assert {"dns.servers", "listener[0].port", "listener[1].role"} <= set(named)
    assert not any(key.startswith("smtp") for key in named)


def test_of_what_is_hidden_too_it_is_named_that_it_changed() -> None:
    def read(password: str, secret: str) -> Config:
        s3 = f"[s3]\nbucket = 'b'\naccess_key_id = 'k'\nsecret_access_key = '{secret}'\n"
        server = f"[server]\nstore = 'postgresql://u:{password}@db/x'\n"
        return parse_config(server + GOOD + s3)

    before = read("one", "two")
    assert waiting_for_restart(before, read("one", "two")) == []
    assert waiting_for_restart(before, read("other", "two")) == ["server.store"]
    assert waiting_for_restart(before, read("one", "other")) == ["s3.secret_access_key"]
