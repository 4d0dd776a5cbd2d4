"""python -m bench: estafeta beside Postfix and Dovecot, by turns, in one run.

Inbound: smtp-source to port 25, until every message is visible in IMAP. Relay: smtp-source to
submission, until every message is at smtp-sink. Needs no root; fetches the peers' packages.
Compare ratios of one run, not figures of different days.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from tests.support.peers.packages import Unavailable, fetch

from bench.contest import EXTRA_TURNS, Build, contest
from bench.measure import Load
from bench.ours import EstafetaInbound, EstafetaRelay, Form, beside_all_off
from bench.peers import PostfixDovecot, PostfixRelay
from bench.report import ratio, show

INBOUND_RATIO_MIN = 8.0
RELAY_RATIO_MIN = 3.0
POLICIES_RATIO_MIN = 0.85

TURNS = 5
RUN_SECONDS = 5.0
QUICK_TURNS = 2
QUICK_RUN_SECONDS = 1.5


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _names(text: str) -> list[str]:
    names = text.split(",")
    if set(names) - {"sqlite", "postgresql"}:
        raise argparse.ArgumentTypeError(f"sqlite or postgresql, or both, not {text!r}")
    return names


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    usual = Load()
    add = parser.add_argument
    add("--quick", action="store_true", help="a short run, for a first impression")
    add("--only", choices=["inbound", "relay"], help="one of the two")
    add("--turns", type=int, help=f"runs of each side, {TURNS} or more to compare by")
    add("--seconds", type=float, help="wanted length of a run")
    add("--size", type=int, default=usual.size, help="octets of a message")
    add("--sessions", type=int, default=usual.sessions, help="connections of the client")
    add("--workers", type=_numbers, default=[1], metavar="1,2", help="forms of ours to compare")
    add("--store", type=_names, default=["sqlite"], metavar="sqlite,postgresql", help="the same")
    add("--ours", action="store_true", help="no peer, only our forms beside each other")
    add(
        "--policies",
        action="store_true",
        help="inbound with every policy on beside all off; no peer, no relay",
    )
    add("--no-syncs", action="store_true", help="do not count syncs (strace)")
    add("--json", type=Path, metavar="FILE", help="write everything measured; - for stdout")
    given = parser.parse_args()

    on_stdout = str(given.json) == "-"
    console = Console(stderr=on_stdout)
    load = Load(given.size, given.sessions)
    turns = given.turns or (QUICK_TURNS if given.quick else TURNS)
    seconds = given.seconds or (QUICK_RUN_SECONDS if given.quick else RUN_SECONDS)
    try:
        peers = fetch()
    except Unavailable as reason:
        console.print(f"the peers cannot be had: {reason}")
        return 1

    forms = [
        Form(workers, store, policies)
        for store in given.store
        for workers in given.workers
        for policies in ((False, True) if given.policies else (False,))
    ]
    alone = given.ours or given.policies
    runs = turns + EXTRA_TURNS + 1
    contests: list[tuple[str, Build, list[Build], float]] = [
        (
            "inbound: port 25 until visible in IMAP",
            PostfixDovecot,
            [functools.partial(EstafetaInbound, turns=runs, form=form) for form in forms],
            INBOUND_RATIO_MIN,
        ),
        (
            "relay: submission until at smtp-sink",
            PostfixRelay,
            [functools.partial(EstafetaRelay, form=form) for form in forms],
            RELAY_RATIO_MIN,
        ),
    ]
    machine = f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    measured: dict[str, Any] = {}
    everything: dict[str, Any] = {
        "machine": machine,
        "load_average": os.getloadavg()[0],
        "peers": {name: peers.versions[name] for name in ("postfix", "dovecot-core")},
        "load": {"size": load.size, "sessions": load.sessions},
        "contests": measured,
    }
    versions = ", ".join(f"{name} {version}" for name, version in everything["peers"].items())
    console.print(f"{machine}; load {os.getloadavg()[0]:.1f}; {versions}", highlight=False)
    for title, peer, ours, wanted in contests:
        if not title.startswith("inbound" if given.policies else given.only or ""):
            continue
        results = contest(
            ours if alone else [peer, *ours],
            load,
            turns=turns,
            seconds=seconds,
            syncs=not (given.no_syncs or given.quick),
            progress=lambda text: console.print(text, style="dim"),
        )
        full_title = f"{title}, {load.size} octets, {load.sessions} sessions"
        show(full_title, results, None if alone else wanted, console)
        told = beside_all_off(forms, results) if given.policies else {}
        for name, found in told.items():
            console.print(f"{name}: {found:.2f} of all off (promised: {POLICIES_RATIO_MIN:g})")
        measured[title.partition(":")[0]] = {
            **({} if alone else {"ratio": ratio(results), "promised": wanted}),
            **({"policies": told, "promised": POLICIES_RATIO_MIN} if told else {}),
            "results": [result.as_json() for result in results],
        }
    if given.json:
        text = json.dumps(everything, indent=1) + "\n"
        if on_stdout:
            sys.stdout.write(text)
        else:
            given.json.write_text(text)
    return 0


sys.exit(main())
