"""Types: which files `blocked_types` means: by name, by declared type, by first octets.

An entry is an ending (`.mov`), a type (`video/quicktime`, `video/*`), or a group. Each means the
same files in all three ways, as far as magic.KINDS knows the type.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache

import msgspec

from estafeta.deliver.policy import magic
from estafeta.deliver.policy.magic import Kind

GROUPS: dict[str, str] = {
    "executable": (
        "exe dll scr com cpl ocx sys drv pif bat cmd msi msp mst msc js jse vbs vbe vb wsf wsh wsc "
        "sct ps1 ps1xml ps2 psc1 psc2 psm1 psd1 hta lnk url inf reg chm hlp jar class gadget "
        "application appref-ms appx msix apk elf so dylib sh scf settingcontent-ms xll"
    ),
    "macro": "docm dotm xlsm xltm xlam xlsb pptm potm ppam ppsm sldm",
    "archive": "zip rar 7z gz tgz bz2 tbz2 xz txz zst lz lzh lha arj ace cab tar cpio",
    "disk": "iso img vhd vhdx dmg vmdk udf wim",
}
"""What a group stands for, by endings; `macro` besides means documents with macros inside."""


class Types(msgspec.Struct, frozen=True):
    """entries: an ending with its dot, a type or a major type with its slash -> the entry that
    stands for it. macros: the entry that means macros inside documents, or ""."""

    entries: dict[str, str]
    macros: str = ""

    def match(self, names: Collection[str], declared: str, head: bytes) -> str:
        """The entry that means a file, "" where none does.

        names: `names.readings` of what it is called. declared: its Content-Type in lower case, or
        "". head: its first octets.
        """
        for name in names:
            if found := self._by_name(name):
                return found
        endings = _last_endings(names)
        kind = magic.named(declared) if declared else None
        if declared:
            found = self._by_type(kind.type if kind is not None else declared) or self._by_type(
                declared
            )
            if found:
                return found
        if kind is not None:
            # What has no name is called by its type.
            endings = endings or kind.endings
            if found := self._by_kind(kind, endings):
                return found
        for kind in magic.kinds(head):
            if found := self._by_kind(kind, endings):
                return found
        return ""

    def _by_name(self, name: str) -> str:
        """Each ending that it has, so that .tar.gz can be meant."""
        at = name.find(".")
        while at >= 0:
            if found := self.entries.get(name[at:]):
                return found
            at = name.find(".", at + 1)
        ending = name.rpartition(".")[2]
        for type in magic.by_ending().get(ending, ()) if ending != name else ():
            if found := self._by_type(type):
                return found
        return ""

    def _by_type(self, type: str) -> str:
        return self.entries.get(type) or self.entries.get(f"{type.partition('/')[0]}/*", "")

    def _by_kind(self, kind: Kind, endings: Iterable[str]) -> str:
        if any(kind.allows(ending) for ending in endings):
            return ""  # its name says which of them it is, and was looked at
        for ending in kind.endings:
            if found := self.entries.get(f".{ending}"):
                return found
        return self._by_type(kind.type)


def _last_endings(names: Iterable[str]) -> tuple[str, ...]:
    return tuple({name.rpartition(".")[2] for name in names if "." in name})


@lru_cache(maxsize=256)
def types(blocked: tuple[str, ...]) -> Types:
    """What the entries of `blocked_types` mean."""
    entries: dict[str, str] = {}
    macros = ""
    for written in blocked:
        entry = written.lower()
        if entry in GROUPS:
            for ending in GROUPS[entry].split():
                entries.setdefault(f".{ending}", written)
            if entry == "macro":
                macros = written
        elif entry.startswith("."):
            entries.setdefault(entry, written)
        else:
            kind = magic.named(entry)
            entries.setdefault(kind.type if kind is not None else entry, written)
            entries.setdefault(entry, written)
    return Types(entries, macros)
