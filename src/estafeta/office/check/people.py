"""People: whether the user to become exists, and may do with the files what the server will."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from estafeta.office.check.finding import Finding, error, ok, warning
from estafeta.office.config import Config
from estafeta.office.privileges import Identity, PrivilegeError, find_identity, user_name


def check_user(config: Config) -> Iterator[Finding]:
    """[server] user and group."""
    about = "user"
    try:
        identity = find_identity(config.server.user, config.server.group)
    except PrivilegeError as wrong:
        yield error(about, str(wrong))
        return
    me = user_name(os.geteuid())
    if identity is None:
        if os.geteuid() == 0:
            yield warning(about, "the server would stay root; give it a [server] user")
        else:
            yield ok(about, f"the server runs as whoever starts it; now that is {me}")
    elif os.geteuid() in (0, identity.uid):
        yield ok(about, f"{identity.user} exists")
    else:
        yield error(
            about,
            f"started by {me} the server cannot become {identity.user}: only root can; start it "
            "as root or that user, or leave [server] user empty",
        )


def check_data_dir(config: Config, identity: Identity | None) -> Iterator[Finding]:
    """The folder of everything that is kept."""
    about, folder = "data folder", Path(config.server.data_dir)
    uid = os.geteuid() if identity is None else identity.uid
    try:
        status = folder.stat()
    except FileNotFoundError:
        yield from _would_be_made(about, folder)
        return
    except OSError as trouble:
        yield error(about, f"{folder} cannot be looked at: {(trouble.strerror or '').lower()}")
        return
    if not stat.S_ISDIR(status.st_mode):
        yield error(about, f"{folder} is not a folder")
    elif status.st_uid != uid and uid != 0:
        owner, name = user_name(status.st_uid), user_name(uid)
        yield error(about, f"{folder} belongs to {owner}, not to {name}; chown -R {name} {folder}")
    elif os.statvfs(folder).f_flag & os.ST_RDONLY:
        yield error(about, f"{folder} lies on a read-only disk")
    elif not may(uid, status, 3):
        yield error(about, f"{user_name(uid)} cannot write in {folder}")
    elif status.st_mode & 0o007:
        yield warning(about, f"{folder} can be entered by everybody; chmod 750 {folder}")
    else:
        yield ok(about, f"{folder} is {user_name(uid)}'s own and can be written")
    free = os.statvfs(folder)
    if free.f_bavail * free.f_frsize < config.smtp.size_max:
        yield error(about, f"less space is free on the disk of {folder} than one message may take")


def check_private(about: str, file: Path, identity: Identity | None) -> Iterator[Finding]:
    """A file that holds a secret: the user must be able to read it, nobody else should."""
    try:
        status = file.stat()
    except OSError:
        return  # that it cannot be read has been told where it is read
    uid = os.geteuid() if identity is None else identity.uid
    if not may(uid, status, 4):
        yield warning(about, f"{user_name(uid)} cannot read {file}: a reload would be refused")
    elif status.st_mode & 0o007:
        yield warning(about, f"everybody can read {file}; chmod 640 {file}")


def may(uid: int, status: os.stat_result, bits: int) -> bool:
    """By the permission bits (4 read, 2 write, 1 enter), as user `uid` with its usual groups."""
    if uid == 0:
        return True
    if status.st_uid == uid:
        return (status.st_mode >> 6) & bits == bits
    try:
        entry = pwd.getpwuid(uid)
        groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    except KeyError:
        groups = os.getgroups()
    return (status.st_mode >> (3 if status.st_gid in groups else 0)) & bits == bits


def _would_be_made(about: str, folder: Path) -> Iterator[Finding]:
    above = next(each for each in folder.parents if each.exists())
    if not above.is_dir():
        yield error(about, f"{folder} cannot be made: {above} is not a folder")
    elif not os.access(above, os.W_OK | os.X_OK):
        yield error(about, f"{folder} does not exist, and {above} cannot be written to make it")
    else:
        yield ok(about, f"{folder} does not exist yet; the first start makes it")
