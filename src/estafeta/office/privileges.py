"""Privileges: from root to an ordinary user once every port is bound, for good.

Promises: after `drop` neither user, group nor supplementary groups of root are left, and this is
checked; nothing is dropped half.
"""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import msgspec


class PrivilegeError(Exception):
    """Cannot run as that user; the text is one clear sentence."""


class Identity(msgspec.Struct, frozen=True):
    """Whom to become."""

    user: str
    uid: int
    gid: int


def find_identity(user: str, group: str = "") -> Identity | None:
    """user "": None, stay who we are. Raises PrivilegeError where the system knows no such name."""
    if not user:
        if group:
            raise PrivilegeError(f'[server] group = "{group}" needs a user beside it')
        return None
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise PrivilegeError(f'[server] user = "{user}": there is no such user here') from None
    gid = entry.pw_gid
    if group:
        try:
            gid = grp.getgrnam(group).gr_gid
        except KeyError:
            raise PrivilegeError(f'[server] group = "{group}": no such group here') from None
    return Identity(user, entry.pw_uid, gid)


def prepare_folder(folder: Path, identity: Identity | None) -> None:
    """Makes `folder`, for its owner only, and hands it to `identity` where we are root.

    Raises PrivilegeError when it belongs to somebody else or cannot be written.
    """
    uid = os.geteuid() if identity is None else identity.uid
    try:
        if not folder.exists():
            folder.mkdir(parents=True, mode=0o700)
            if identity is not None and os.geteuid() == 0:
                os.chown(folder, identity.uid, identity.gid)
        status = folder.stat()
    except OSError as trouble:
        reason = (trouble.strerror or str(trouble)).lower()
        raise PrivilegeError(f"the data folder {folder} cannot be used: {reason}") from trouble
    if not folder.is_dir():
        raise PrivilegeError(f"the data folder {folder} is not a folder")
    if status.st_uid != uid and uid != 0:
        owner, name = user_name(status.st_uid), user_name(uid)
        raise PrivilegeError(
            f"the data folder {folder} belongs to {owner}, not to {name}; chown -R {name} {folder}"
        )
    if identity is None and not os.access(folder, os.W_OK | os.X_OK):
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            raise PrivilegeError(f"the data folder {folder} lies on a read-only disk")
        raise PrivilegeError(f"the data folder {folder} cannot be written")


def hand_over(folder: Path, identity: Identity | None) -> None:
    """Gives `identity` what root has made in `folder`: the store's files, certificates.

    To be called before `drop`, and by commands that root runs. Links are not followed, and folders
    that are `identity`'s own are not entered, be they ever so large. Raises PrivilegeError.
    """
    if identity is None or os.geteuid() != 0 or identity.uid == 0:
        return
    try:
        _hand_over(folder, identity)
    except OSError as trouble:
        reason = (trouble.strerror or str(trouble)).lower()
        raise PrivilegeError(f"{folder} cannot be given to {identity.user}: {reason}") from trouble


def _hand_over(folder: Path, identity: Identity) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            # A hard link may lead to a file of the system's.
            if status.st_uid != 0 or (entry.is_file(follow_symlinks=False) and status.st_nlink > 1):
                continue
            if entry.is_dir(follow_symlinks=False):
                _hand_over(Path(entry.path), identity)
            if not entry.is_symlink():
                os.chown(entry.path, identity.uid, identity.gid, follow_symlinks=False)


def drop(identity: Identity | None) -> bool:
    """Becomes `identity`; True when something was dropped. Raises PrivilegeError."""
    if identity is None or os.geteuid() == identity.uid:
        return False
    if os.geteuid() != 0:
        raise PrivilegeError(
            f"only root can become {identity.user}; start as root or leave [server] user empty"
        )
    try:
        os.initgroups(identity.user, identity.gid)
        os.setgid(identity.gid)
        os.setuid(identity.uid)
    except OSError as trouble:
        raise PrivilegeError(f"cannot become {identity.user}: {trouble.strerror}") from trouble
    if identity.uid != 0 and (os.getuid() == 0 or os.geteuid() == 0):
        raise PrivilegeError(f"still root after becoming {identity.user}")
    return True


def user_name(uid: int) -> str:
    """As `chown` takes it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
