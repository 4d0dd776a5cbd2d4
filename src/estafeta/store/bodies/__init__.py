"""Bodies: the bytes of messages; small ones are rows, large ones a file or an object each.

Promises: a file and its name are synced, an object's PUT answered, before the unit that refers to
it begins. Ids come before any reference; there are no counters: garbage.py finds what nothing
refers to. A body is written once and never changes, so one may be shared by any number of messages.
Its row remembers where it lies: what new ones do concerns no old one.
"""

from estafeta.store.bodies.body import Body, BodyMissing, NotBrought, bring, bring_each, put
from estafeta.store.bodies.files import FileContent
from estafeta.store.bodies.house import INLINE_MAX, Bodies, BodyWriter
from estafeta.store.bodies.names import FOLDER, IN_FILE, IN_OBJECT, IN_ROW, folder_of, path_of
from estafeta.store.bodies.objects import BodiesRefused, BodiesUnavailable, ObjectContent, Shelf

__all__ = [
    "FOLDER",
    "INLINE_MAX",
    "IN_FILE",
    "IN_OBJECT",
    "IN_ROW",
    "Bodies",
    "BodiesRefused",
    "BodiesUnavailable",
    "Body",
    "BodyMissing",
    "BodyWriter",
    "FileContent",
    "NotBrought",
    "ObjectContent",
    "Shelf",
    "bring",
    "bring_each",
    "folder_of",
    "path_of",
    "put",
]
