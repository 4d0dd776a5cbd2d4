"""packages: other people's mail programs, fetched from Debian or Ubuntu, unpacked, not installed.

`fetch()` gives a `Peers`: one folder holding the programs below, unpacked with `dpkg-deb -x` from
packages that `apt-get` downloaded, with the libraries the system lacks beside them. Programs that
conflict with those are asked for by name, `fetch("exim4-daemon-heavy")`, and get a folder of their
own. Needs neither root nor a HOME, changes nothing outside the cache folder (`$ESTAFETA_CACHE` or
`.cache` below the project), and may be called by several test workers at once: the first fetches,
the others wait. Where it cannot be done it raises `Unavailable` with the reason.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]

# What tests and benches run. The wrapper libraries let Postfix and Dovecot believe that they are
# root and that their users exist (see postfix.py), so that neither is needed.
PACKAGES = (
    "curl",
    "dovecot-core",
    "dovecot-imapd",
    "dovecot-lmtpd",
    "dovecot-pop3d",
    "fetchmail",
    "isync",
    "libnet-ssleay-perl",
    "libnss-wrapper",
    "libuid-wrapper",
    "msmtp",
    "mutt",
    "postfix",
    "strace",
    "swaks",
)

# The dynamic loader is the system's and takes only its own C library.
NOT_UNPACKED = frozenset({"libc6", "libc-bin"})

# Part of the cache's name: raised when what `fetch` makes of the packages changes.
LAYOUT = 1

APT_TIMEOUT_S = 100  # below the time that a test may take

# Dovecot compiles this folder in and opens it before it reads its configuration. In our copy it is
# relative: a link of that name lies in each instance's base folder, where its services run.
DOVECOT_MODULES = b"/usr/lib/dovecot/modules"
DOVECOT_MODULES_LINK = "modules"


class Unavailable(Exception):
    """The programs could not be fetched or do not run here; the text says why."""


@dataclass(frozen=True, slots=True)
class Peers:
    """The unpacked programs.

    root: the folder that stands for `/`. versions: Debian package name -> version.
    """

    root: Path
    versions: Mapping[str, str]

    def program(self, name: str) -> Path:
        """The path of one program of the packages, by its name.

        Raises: Unavailable, if no package brought it.
        """
        for folder in ("usr/bin", "usr/sbin", "usr/lib/postfix/sbin", "usr/lib/dovecot"):
            path = self.root / folder / name
            if path.is_file():
                return path
        raise Unavailable(f"no package brought the program {name}")

    def library(self, name: str) -> Path:
        """The path of one shared library, searched where programs will find it."""
        for folder in self.library_folders:
            if (folder / name).exists():
                return folder / name
        raise Unavailable(f"no package brought the library {name}")

    @property
    def library_folders(self) -> list[Path]:
        multiarch = sorted((self.root / "usr/lib").glob("*-linux-gnu*"))
        multiarch += sorted((self.root / "lib").glob("*-linux-gnu*"))
        own = ("postfix", "dovecot", "dovecot/modules", "dovecot/modules/old-stats")
        return multiarch + [self.root / "usr/lib" / name for name in own]

    def environment(self, home: Path | str, **more: str) -> dict[str, str]:
        """The environment in which a program of the packages runs, and nothing else.

        home: its HOME, a folder of the test. more: further variables.
        """
        perl = [self.root / "usr/share/perl5", self.root / "etc/perl"]
        perl += sorted(self.root.glob("usr/lib/*/perl5/*"))
        perl += sorted(self.root.glob("usr/lib/*/perl/*")) + sorted(
            self.root.glob("usr/share/perl/*")
        )
        folders = [self.root / "usr/bin", self.root / "usr/sbin"]
        return {
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "LD_LIBRARY_PATH": ":".join(map(str, self.library_folders)),
            "PATH": ":".join(map(str, folders)) + ":/usr/sbin:/usr/bin:/sbin:/bin",
            "PERL5LIB": ":".join(map(str, perl)),
            "TZ": "UTC",
            **more,
        }


@functools.cache
def fetch(*names: str) -> Peers:
    """The programs, fetched at the first call and taken from the cache later.

    names: Debian packages; those of `PACKAGES` if none are named. Raises: Unavailable.
    """
    packages = names or PACKAGES
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise Unavailable(f"{tool} is not there: not a Debian or Ubuntu")
    base = cache_folder()
    try:
        base.mkdir(parents=True, exist_ok=True)
        with locked(base / "lock"):
            folder = base / _cache_name(packages)
            if not (folder / "manifest.json").is_file():
                _fill(base, folder, packages)
            versions = json.loads((folder / "manifest.json").read_text())
    except OSError as error:
        raise Unavailable(f"the cache {base} cannot be used: {error}") from error
    return Peers(folder / "root", versions)


def kept(name: str, lock: str, fill: Callable[[Path], None]) -> Path:
    """A folder of the cache, which `fill` fills where it is not there yet; it appears only when it
    is complete. lock: the file that keeps other test workers out. Raises: Unavailable.
    """
    base = cache_folder()
    folder = base / name
    try:
        base.mkdir(parents=True, exist_ok=True)
        with locked(base / lock):
            if not folder.is_dir():
                work = Path(tempfile.mkdtemp(prefix="fetching-", dir=base))
                try:
                    fill(work)
                    work.chmod(0o755)
                    work.rename(folder)
                finally:
                    shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise Unavailable(f"the cache {base} cannot be used: {error}") from error
    return folder


def cache_folder() -> Path:
    """Where foreign programs are kept; it need not be there yet."""
    return Path(os.environ.get("ESTAFETA_CACHE") or PROJECT / ".cache") / "peers"


def _cache_name(packages: Sequence[str]) -> str:
    release = platform.freedesktop_os_release()
    asked = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:10]
    system = f"{release.get('ID', 'unknown')}-{release.get('VERSION_CODENAME', 'unknown')}"
    return f"{system}-{platform.machine()}-{LAYOUT}-{asked}"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a lock file that keeps other test workers out."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fill(base: Path, folder: Path, packages: Sequence[str]) -> None:
    """Downloads and unpacks into `folder`, which appears only when it is complete."""
    work = Path(tempfile.mkdtemp(prefix="fetching-", dir=base))
    try:
        archives = _download(work, packages)
        (work / "root").mkdir()
        versions: dict[str, str] = {}
        for archive in archives:
            shown = _run(["dpkg-deb", "-W", "--showformat=${Package} ${Version}", str(archive)])
            name, _, version = shown.partition(" ")
            versions[name] = version
            if name not in NOT_UNPACKED:
                _run(["dpkg-deb", "-x", str(archive), str(work / "root")])
            archive.unlink()
        _relocate_dovecot(work / "root")
        missing = sorted(set(packages) - set(versions))
        if missing:
            raise Unavailable(f"apt-get did not bring {', '.join(missing)}")
        (work / "manifest.json").write_text(json.dumps(versions, indent=1, sort_keys=True))
        shutil.rmtree(work / "apt", ignore_errors=True)
        work.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _download(work: Path, packages: Sequence[str]) -> list[Path]:
    """The packages and what they need beyond the installed ones, as files.

    The system's lists of packages are tried first; where they are absent or older than the mirror,
    lists of our own are fetched.
    """
    apt = work / "apt"
    archives = apt / "cache/archives"
    for part in ("cache/archives/partial", "state/lists/partial", "conf", "sources", "log"):
        (apt / part).mkdir(parents=True)
    _copy_configuration(apt / "conf")
    options = [
        "Debug::NoLocking=1",
        "APT::Sandbox::User=root",  # the download folder is ours, not _apt's
        "Acquire::Retries=2",
        "Acquire::Languages=none",
        f"Dir::Cache={apt / 'cache'}",
        f"Dir::Log={apt / 'log'}",
        f"Dir::State={apt / 'state'}",
        "Dir::State::status=/var/lib/dpkg/status",
        f"Dir::Etc::parts={apt / 'conf'}",
    ]
    own_lists = [f"Dir::State::lists={apt / 'state/lists'}", *_own_sources(apt / "sources")]

    def get(*command: str, more: list[str]) -> None:
        flags = [flag for option in options + more for flag in ("-o", option)]
        _run(["apt-get", "-q", *flags, *command])

    def install(more: list[str]) -> list[Path]:
        get(
            *("install", "--download-only", "--reinstall", "--yes", "--no-install-recommends"),
            *packages,
            more=more,
        )
        return sorted(archives.glob("*.deb"))

    try:
        return install(["Dir::State::lists=/var/lib/apt/lists"])
    except Unavailable:
        refused = None
        try:
            get("update", more=[*own_lists, "APT::Update::Error-Mode=any"])
        except Unavailable as error:
            refused = error  # one of several sources may be away: what was fetched may do
        try:
            return install(own_lists)
        except Unavailable as error:
            raise refused or error from error


def _copy_configuration(folder: Path) -> None:
    """apt's configuration (proxies and the like) without the hooks, which are for real installs."""
    for part in sorted(Path("/etc/apt/apt.conf.d").glob("*")):
        if part.is_file() and os.access(part, os.R_OK):
            shutil.copyfile(part, folder / part.name)
    hooks = ("APT::Update", "DPkg")
    times = ("Pre-Invoke", "Post-Invoke", "Post-Invoke-Success", "Pre-Install-Pkgs")
    clear = [f"#clear {hook}::{time};" for hook in hooks for time in times]
    (folder / "zz-estafeta").write_text("\n".join(clear) + "\n")


def _own_sources(folder: Path) -> list[str]:
    """Options that leave only the distribution's own sources: third parties' may not be reached.

    A source is the distribution's if its suite begins with the release's code name.
    """
    code_name = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    found = False
    etc = Path("/etc/apt")
    for path in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]:
        if not path.is_file() or path.suffix not in (".list", ".sources"):
            continue
        text = path.read_text(errors="replace")
        if path.suffix == ".list":
            kept = [line for line in text.splitlines() if f" {code_name}" in line]
            text = "\n".join(kept) + "\n"
            keep = bool(kept) and bool(code_name)
        else:
            suites = [line for line in text.splitlines() if line.lower().startswith("suites:")]
            keep = bool(code_name) and any(f" {code_name}" in line for line in suites)
        if keep:
            (folder / path.name).write_text(text)
            found = True
    if not found:
        return []
    return ["Dir::Etc::sourcelist=/dev/null", f"Dir::Etc::sourceparts={folder}"]


def _relocate_dovecot(root: Path) -> None:
    for library in (root / "usr/lib/dovecot").glob("libdovecot.so.*.*"):
        old = b"\0" + DOVECOT_MODULES + b"\0"
        new = (b"\0" + DOVECOT_MODULES_LINK.encode()).ljust(len(old), b"\0")
        library.write_bytes(library.read_bytes().replace(old, new))


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=APT_TIMEOUT_S,
            env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
        )
    except subprocess.CalledProcessError as error:
        words = (error.stderr or error.stdout).strip().splitlines()
        raise Unavailable(f"{command[0]}: {' / '.join(words[-3:])}") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{command[0]} took more than {APT_TIMEOUT_S} s") from error
    return done.stdout
