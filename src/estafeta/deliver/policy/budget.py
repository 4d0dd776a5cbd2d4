"""Budget: how much may be done for one message, so that no message takes long, whatever is in it.

Deterministic: octets and files are counted, not seconds.
"""

from __future__ import annotations

from estafeta.deliver.policy.limits import ENTRIES_MAX, UNPACKED_OCTETS_MAX

OBJECT_OCTETS = 256
"""What one more file of an archive costs, as if so many octets had been unpacked."""

ATTACHMENT_OCTETS = 4096
"""The same for one more part of a message."""

LETTER_OCTETS = 8
"""What a letter of a name costs."""


class TooMuch(Exception):
    """The message cannot be looked through within bounds; what was opened last is the reason."""


class Budget:
    """octets: to be decoded and unpacked. files: in archives."""

    __slots__ = ("files", "octets")

    def __init__(self, octets: int = UNPACKED_OCTETS_MAX, files: int = ENTRIES_MAX) -> None:
        self.octets = octets
        self.files = files

    def spend(self, octets: int) -> None:
        """Raises TooMuch."""
        self.octets -= octets
        if self.octets < 0:
            raise TooMuch

    def file(self, name_letters: int) -> None:
        """One more file is looked at. Raises TooMuch."""
        self.files -= 1
        if self.files < 0:
            raise TooMuch
        self.spend(OBJECT_OCTETS + LETTER_OCTETS * name_letters)
