"""Reading: what a bounce, a delay notice or any other report of any mail server says.

Promises: pure; never raises, whatever the octets; bounded in time and memory. Delivery reports
RFC 3464 and RFC 6533, also broken ones; feedback RFC 5965; automatic replies RFC 3834; and what
servers write that follow none of these, by how they speak (`forms.toml`).
"""

from estafeta.explain.reading.nouns import Kind, Reading, ReportedRecipient, Returned
from estafeta.explain.reading.read import read_reply, read_report

__all__ = [
    "Kind",
    "Reading",
    "ReportedRecipient",
    "Returned",
    "read_reply",
    "read_report",
]
