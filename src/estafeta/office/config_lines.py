"""Config lines: on which line of a TOML text each key and value stands.

`tomllib` gives values without positions. The text has passed `tomllib` before: this scanner only
finds its way, it does not check (TOML 1.0).
"""

from __future__ import annotations

import re

Path = tuple[str | int, ...]

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\n]+")
# In the order in which they must be tried: the long quotes first.
_STRINGS = (
    re.compile(r'"""(?:\\.|[^\\])*?"{3,5}', re.DOTALL),
    re.compile(r"'''.*?'{3,5}", re.DOTALL),
    re.compile(r'"(?:\\.|[^"\\\n])*"'),
    re.compile(r"'[^'\n]*'"),
)


def locate(text: str) -> dict[Path, int]:
    """Line (from 1) of each key, table and array element, by its path.

    [[table]]s are elements of an array: ("listener", 0, "role").
    """
    return _Scanner(text).run()


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Path, int] = {}
        self.counts: dict[Path, int] = {}

    def run(self) -> dict[Path, int]:
        table: Path = ()
        while self._skip():
            if self.text.startswith("[[", self.at):
                self.at += 2
                table = self._open(self._keys(), array=True)
                self.at += 2
            elif self.text[self.at] == "[":
                self.at += 1
                table = self._open(self._keys(), array=False)
                self.at += 1
            else:
                self._pair(table)
        return self.lines

    def _skip(self) -> bool:
        found = _SPACE.match(self.text, self.at)
        assert found is not None  # it matches the empty string too
        self.at = found.end()
        return self.at < len(self.text)

    def _note(self, path: Path) -> None:
        self.lines.setdefault(path, self.text.count("\n", 0, self.at) + 1)

    def _open(self, keys: list[str], *, array: bool) -> Path:
        """The full path of a table header: below an array of tables, its last element."""
        path: Path = ()
        for n, key in enumerate(keys):
            path = (*path, key)
            self._note(path)
            if array and n == len(keys) - 1:
                self.counts[path] = self.counts.get(path, 0) + 1
            if path in self.counts:
                path = (*path, self.counts[path] - 1)
                self._note(path)
        return path

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._skip()
            if self.text[self.at] in "\"'":
                keys.append(self._string()[1:-1])
            else:
                found = _BARE.match(self.text, self.at)
                assert found is not None
                self.at = found.end()
                keys.append(found[0])
            self._skip()
            if self.text[self.at] != ".":
                return keys
            self.at += 1

    def _pair(self, table: Path) -> None:
        start = self.at
        keys = self._keys()
        after, self.at = self.at, start
        for n in range(len(keys)):
            self._note((*table, *keys[: n + 1]))
        self.at = after + 1  # the "="
        self._value((*table, *keys))

    def _value(self, path: Path) -> None:
        self._skip()
        first = self.text[self.at]
        if first in "\"'":
            self._string()
        elif first == "[":
            self._array(path)
        elif first == "{":
            self._inline(path)
        else:
            found = _SCALAR.match(self.text, self.at)
            assert found is not None
            self.at = found.end()

    def _string(self) -> str:
        for form in _STRINGS:
            found = form.match(self.text, self.at)
            if found is not None:
                self.at = found.end()
                return found[0]
        raise AssertionError("tomllib let a broken string pass")

    def _array(self, path: Path) -> None:
        self.at += 1
        n = 0
        while self._skip() and self.text[self.at] != "]":
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self._note((*path, n))
            self._value((*path, n))
            n += 1
        self.at += 1

    def _inline(self, path: Path) -> None:
        self.at += 1
        while self._skip() and self.text[self.at] != "}":
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self._pair(path)
        self.at += 1
