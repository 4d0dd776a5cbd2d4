"""Message: where everything lies in a message's octets, and the forms the store keeps of it.

`summary` is what delivery makes once; `section` finds a piece later without parsing. `index` gives
the tree, `headers` the fields.
"""

from estafeta.mail.message.fields import (
    Buffer,
    Field,
    field,
    header_end,
    header_fields,
    headers,
    pairs,
    text_field,
)
from estafeta.mail.message.imap_form import imap_body, imap_envelope
from estafeta.mail.message.params import content_type, disposition, parameter
from estafeta.mail.message.parts import LEAF, MESSAGE, MULTIPART, Part, index
from estafeta.mail.message.sections import Span, find, read_section, section, unpack
from estafeta.mail.message.summary import Summary, preview, summary

__all__ = [
    "LEAF",
    "MESSAGE",
    "MULTIPART",
    "Buffer",
    "Field",
    "Part",
    "Span",
    "Summary",
    "content_type",
    "disposition",
    "field",
    "find",
    "header_end",
    "header_fields",
    "headers",
    "imap_body",
    "imap_envelope",
    "index",
    "pairs",
    "parameter",
    "preview",
    "read_section",
    "section",
    "summary",
    "text_field",
    "unpack",
]
