"""chrooted: a program that insists on fixed paths and users, in a root folder of its own.

Its tree holds the program, the libraries it needs and what the test writes there; every user of it
is number 0 inside. `uid_wrapper` and `nss_wrapper` let each change of user succeed without one. So
it needs no more than chroot(2): root has that, others get it from a user namespace. No mounts.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .packages import Peers, Unavailable

WRAPPERS = ("libuid_wrapper.so", "libnss_wrapper.so")

COMMAND_TIMEOUT_S = 20

# Runs its arguments with the wrappers loaded: not before, as `chroot` itself must change the root.
_WRAPPED = (
    f"LD_PRELOAD={':'.join(f'/lib/{name}' for name in WRAPPERS)} "
    "UID_WRAPPER=1 UID_WRAPPER_ROOT=1 "
    'NSS_WRAPPER_PASSWD=/etc/passwd NSS_WRAPPER_GROUP=/etc/group exec "$0" "$@"'
)


class Tree:
    """One root folder. programs: paths of the packages that go there, with what they load.

    users: names that the program looks up, all of them number 0. homes: further users, with a home
    folder, a number that is not 0 and the same rights.
    """

    def __init__(
        self,
        root: Path,
        peers: Peers,
        programs: Sequence[str],
        users: Sequence[str],
        homes: Sequence[str] = (),
    ) -> None:
        self.root = root
        self._peers = peers
        for folder in ("bin", "dev", "etc", "lib", "tmp", "var/run"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        found = [(peers.root / name, root / name) for name in programs]
        found.append((Path("/bin/sh"), root / "bin/sh"))
        for source, target in found:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
            self._bring_libraries(source)
        for name in WRAPPERS:
            shutil.copy(peers.library(name), root / "lib" / name)
        (root / "dev/null").touch()  # a file: making the device takes more than chroot
        self.write("etc/hosts", "127.0.0.1 localhost\n")
        self.write("etc/resolv.conf", "")
        passwd = [f"{name}:x:0:0::/:/bin/sh" for name in ("root", *users)]
        groups = [f"{name}:x:0:" for name in ("root", *users)]
        for number, name in enumerate(homes, 901):
            (root / name).mkdir(exist_ok=True)
            passwd.append(f"{name}:x:{number}:{number}::/{name}:/bin/sh")
            groups.append(f"{name}:x:{number}:")
        self.write("etc/passwd", "\n".join(passwd) + "\n")
        self.write("etc/group", "\n".join(groups) + "\n")

    def write(self, name: str, text: str) -> None:
        """Writes a file of the tree, and the folders above it."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def command(self, *words: str) -> list[str]:
        """What runs `words` inside, the first being a path there."""
        enter = [] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user"]
        return [*enter, "chroot", str(self.root), "/bin/sh", "-c", _WRAPPED, *words]

    def run(self, *words: str) -> str:
        """Runs a command inside; gives its standard output.

        Raises: Unavailable where this machine lets nobody in; CalledProcessError.
        """
        done = subprocess.run(
            self.command(*words),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )
        if done.stderr.startswith(("unshare: ", "chroot: ")):
            raise Unavailable(f"{words[0]} needs a root folder of its own: {done.stderr.strip()}")
        if done.returncode:
            raise subprocess.CalledProcessError(
                done.returncode, words, done.stdout, done.stderr[-2000:]
            )
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C", "TZ": "UTC"}

    def _bring_libraries(self, program: Path) -> None:
        """Copies what the loader loads for `program`, all into /lib; the loader where it must be.

        Raises: Unavailable.
        """
        done = subprocess.run(
            ["ldd", str(program)],
            env=self._peers.environment("/"),
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )
        if done.returncode or "not found" in done.stdout:
            raise Unavailable(f"{program.name} lacks libraries: {done.stdout}{done.stderr}")
        for line in done.stdout.splitlines():
            if library := re.search(r"=> (/\S+)", line):
                target = self.root / "lib" / Path(library[1]).name
            elif library := re.match(r"\s+(/\S+)", line):
                target = self.root / library[1].lstrip("/")
            else:
                continue
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(library[1], target)
