"""Rules: what a policy can say, for the installation, a domain or an account.

Promises: a narrower scope says what holds, field by field, where it says anything; what a wider one
has locked it can only make stricter. `effective` needs no store and is the same for everybody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec.structs import force_setattr


def _about(text: str) -> msgspec.Meta:
    return msgspec.Meta(description=text)


LetIn = Literal["greylist", "rate", "type", "size"]
"""What an owner may let in although it was refused or delayed."""


class HeaderRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """field: name of a header field. matches: RE2, searched for in its decoded value. words: what
    the sender is told, if anything."""

    field: str
    matches: str
    words: str = ""


class Rules(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What one scope says; None: as the wider scope says."""

    blocked_types: Annotated[
        tuple[str, ...] | None,
        _about(
            "Files that are refused: endings (.mov), types (video/quicktime, video/*), or the "
            "groups executable, macro, archive, disk."
        ),
    ] = None
    inside_archives: Annotated[bool | None, _about("Look for them inside archives too.")] = None
    encrypted_archives: Annotated[
        Literal["accept", "refuse"] | None,
        _about("Archives that cannot be looked into for want of a password."),
    ] = None
    size_max: Annotated[
        int | None, _about("Octets of a message; 0: as many as the server takes.")
    ] = None
    depth_max: Annotated[int | None, _about("MIME parts within parts; 0: as deep as they are.")] = (
        None
    )
    parts_max: Annotated[int | None, _about("MIME parts in all; 0: as many as there are.")] = None
    headers: Annotated[
        tuple[HeaderRule, ...] | None,
        _about("Header fields that refuse a message: field, regular expression (RE2), words."),
    ] = None
    tls: Annotated[bool | None, _about("Mail is taken over TLS only.")] = None
    greylist: Annotated[bool | None, _about("Unknown senders are asked to come again.")] = None
    quota_full: Annotated[
        Literal["defer", "reject"] | None,
        _about("A full mailbox answers 452, come again, or 552, for good."),
    ] = None
    lists: Annotated[bool | None, _about("The lists of [lists] are asked.")] = None
    help: Annotated[
        str | None, _about("A link or an address that a refusal names. Empty: none.")
    ] = None
    let_in: Annotated[
        tuple[LetIn, ...] | None,
        _about("What the owner of an account may let in: greylist, rate, type, size."),
    ] = None
    locked: Annotated[
        tuple[str, ...] | None,
        _about("Fields that narrower scopes can only make stricter."),
    ] = None


FIELDS: tuple[str, ...] = Rules.__struct_fields__

CONTENT_FIELDS = (
    "blocked_types",
    "inside_archives",
    "encrypted_archives",
    "size_max",
    "depth_max",
    "parts_max",
    "headers",
)
"""What is judged by looking at a message."""

OWNERS_FIELDS = (
    "blocked_types",
    "inside_archives",
    "encrypted_archives",
    "size_max",
    "depth_max",
    "parts_max",
    "tls",
    "greylist",
    "quota_full",
    "lists",
)
"""What the owner of an account may say for it: nothing that speaks in the installation's name, runs
an expression of its own, or widens what an owner may."""

DECIDES: dict[LetIn, tuple[str, ...]] = {
    "greylist": ("greylist",),
    "rate": (),
    "type": ("blocked_types", "inside_archives", "encrypted_archives"),
    "size": ("size_max",),
}
"""By which fields a message stayed out that is let in."""


class Effective(msgspec.Struct, frozen=True):
    """What holds for one recipient: the same fields, all said.

    let_in: without what is locked, for letting it in would loosen that. content_class: equal for
    recipients whose rules judge a message alike. looks: whether there is anything to look for in a
    message.
    """

    blocked_types: tuple[str, ...] = ()
    inside_archives: bool = True
    encrypted_archives: Literal["accept", "refuse"] = "accept"
    size_max: int = 0
    depth_max: int = 0
    parts_max: int = 0
    headers: tuple[HeaderRule, ...] = ()
    tls: bool = False
    greylist: bool = False
    quota_full: Literal["defer", "reject"] = "defer"
    lists: bool = True
    help: str = ""
    let_in: tuple[LetIn, ...] = get_args(LetIn)
    locked: tuple[str, ...] = ()
    content_class: bytes = b""
    looks: bool = False

    def __post_init__(self) -> None:
        if self.content_class:  # it came from another process
            return
        content = [getattr(self, name) for name in CONTENT_FIELDS]
        content[0] = sorted(self.blocked_types)  # whoever refuses the same judges alike
        digest = hashlib.blake2b(msgspec.json.encode(content), digest_size=16).digest()
        force_setattr(self, "content_class", digest)
        force_setattr(
            self,
            "looks",
            bool(self.blocked_types or self.headers)
            or self.encrypted_archives == "refuse"
            or bool(self.size_max or self.depth_max or self.parts_max),
        )

    @property
    def opens(self) -> bool:
        """Whether archives are opened."""
        return self.encrypted_archives == "refuse" or bool(
            self.blocked_types and self.inside_archives
        )


def effective(scopes: Sequence[Rules]) -> Effective:
    """What holds where these scopes speak, the widest first."""
    found: dict[str, Any] = {name: getattr(_DEFAULT, name) for name in FIELDS}
    locked: set[str] = set()
    for rules in scopes:
        for name in FIELDS:
            said = getattr(rules, name)
            if said is not None and name != "locked":
                found[name] = stricter(name, found[name], said) if name in locked else said
        locked.update(rules.locked or ())
    found["locked"] = tuple(name for name in FIELDS if name in locked)
    found["let_in"] = tuple(
        kind for kind in found["let_in"] if not locked.intersection(DECIDES[kind])
    )
    for name in ("blocked_types", "headers"):
        found[name] = tuple(dict.fromkeys(found[name]))
    return Effective(**found)


def stricter(name: str, wide: Any, narrow: Any) -> Any:
    """What holds of a locked field. wide, narrow: as in `Effective`.

    Lists of what is refused: both together. Limits: the lower one. Switches: on. Archives that
    cannot be opened: refused. A full mailbox: for good. What may be let in: what both say. The
    help: that of the wider scope.
    """
    match name:
        case "blocked_types" | "headers":
            return (*wide, *(each for each in narrow if each not in wide))
        case "locked":
            return tuple(dict.fromkeys((*wide, *narrow)))
        case "let_in":
            return tuple(each for each in wide if each in narrow)
        case "size_max" | "depth_max" | "parts_max":
            return min(wide, narrow) if wide and narrow else wide or narrow
        case "encrypted_archives":
            return "refuse" if "refuse" in (wide, narrow) else "accept"
        case "quota_full":
            return "reject" if "reject" in (wide, narrow) else "defer"
        case "help":
            return wide
        case _:
            return wide or narrow


def loosened(wider: Sequence[Rules], rules: Rules) -> list[str]:
    """Fields that a wider scope has locked and `rules` would make less strict."""
    before = effective(wider)
    return [
        name
        for name in before.locked
        if (said := getattr(rules, name)) is not None
        and name != "locked"
        and not _same(stricter(name, getattr(before, name), said), said)
    ]


def _same(one: Any, other: Any) -> bool:
    return set(one) == set(other) if isinstance(one, tuple) else bool(one == other)


def changed(rules: Rules, changes: Rules, unset: Collection[str] = ()) -> Rules:
    """`rules` with what `changes` says, and without what is unset."""
    said = {name: getattr(changes, name) for name in FIELDS}
    kept = {
        name: None if name in unset else getattr(rules, name) if value is None else value
        for name, value in said.items()
    }
    return Rules(**kept)


_DEFAULT = Effective()
