"""Privileges: who we become, and how it is refused. Dropping for real runs in a child of root."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from estafeta.office.privileges import (
    Identity,
    PrivilegeError,
    drop,
    find_identity,
    hand_over,
    prepare_folder,
)

ME = pwd.getpwuid(os.getuid()).pw_name


def test_names_are_looked_up() -> None:
    assert find_identity("") is None
    found = find_identity(ME)
    assert found is not None
    assert found.uid == os.getuid()
    with pytest.raises(PrivilegeError, match="no such user"):
        find_identity("nobody-of-that-name")
    with pytest.raises(PrivilegeError, match="no such group"):
        find_identity(ME, "no-group-of-that-name")
    with pytest.raises(PrivilegeError, match="needs a user"):
        find_identity("", "staff")


def test_becoming_oneself_is_nothing() -> None:
    assert not drop(None)
    assert not drop(find_identity(ME))


def test_the_data_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "data"
    prepare_folder(folder, None)
    assert folder.stat().st_mode & 0o777 == 0o700
    prepare_folder(folder, None)


def test_a_data_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PrivilegeError, match=r"file/x cannot be used: not a directory"):
        prepare_folder(tmp_path / "file" / "x", None)
    with pytest.raises(PrivilegeError, match="is not a folder"):
        prepare_folder(tmp_path / "file", None)
    stranger = Identity("stranger", os.getuid() + 4242, os.getgid())
    with pytest.raises(PrivilegeError, match="belongs to"):
        prepare_folder(tmp_path, stranger)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_root_is_gone_for_good() -> None:
    code = (
        "import os\n"
        "from estafeta.office.privileges import drop, find_identity\n"
        "assert drop(find_identity('nobody'))\n"
        "assert os.getresuid()[0] == os.getresuid()[1] == os.getresuid()[2] != 0\n"
        "assert os.getresgid()[2] != 0 and 0 not in os.getgroups()\n"
        "try:\n    os.setuid(0)\nexcept PermissionError:\n    print('gone')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "gone\n", done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_what_root_made_is_handed_over_and_nothing_else(tmp_path: Path) -> None:
    nobody = find_identity("nobody")
    assert nobody is not None
    folder = tmp_path / "data"
    prepare_folder(folder, nobody)
    outside = tmp_path / "outside"
    outside.write_text("")
    (folder / "certificates").mkdir()
    (folder / "certificates" / "a.pem").write_text("")
    (folder / "estafeta.db").write_text("")
    (folder / "link").symlink_to(outside)
    (folder / "hard").hardlink_to(outside)
    hand_over(folder, nobody)
    owners = {p.name: p.lstat().st_uid for p in folder.rglob("*")}
    assert owners == {
        "certificates": nobody.uid,
        "a.pem": nobody.uid,
        "estafeta.db": nobody.uid,
        "link": 0,
        "hard": 0,
    }
    assert outside.stat().st_uid == 0


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_a_store_that_root_made_by_command_belongs_to_the_server(
    estafeta: Callable[..., Any], tmp_path: Path
) -> None:
    config = tmp_path / "estafeta.toml"
    config.write_text(config.read_text().replace("[server]", '[server]\nuser = "nobody"'))
    assert estafeta("domain", "add", "x.example").code == 0
    made = list((tmp_path / "data").iterdir())
    assert tmp_path / "data" / "estafeta.db" in made
    assert {path.stat().st_uid for path in made} == {pwd.getpwnam("nobody").pw_uid}
    assert os.geteuid() == 0


@pytest.mark.skipif(os.getuid() == 0, reason="root may become anybody")
def test_only_root_can_become_another() -> None:
    with pytest.raises(PrivilegeError, match="only root"):
        drop(Identity("stranger", os.getuid() + 1, os.getgid()))
