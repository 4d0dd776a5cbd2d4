"""Address: one mailbox's name, in the envelope and in header fields.

`path` and `domain` give the canonical form that envelopes, accounts and the ledger use;
`mailboxes` reads what stands in From, To and Cc.
"""

from estafeta.mail.address.domain import AddressError, canonical_domain, domain_to_unicode
from estafeta.mail.address.mailboxes import Group, Mailbox, mailboxes, parse_address_list
from estafeta.mail.address.path import (
    canonical,
    is_ascii,
    parse_path,
    quote,
    split,
    subaddress,
    unquote,
)

__all__ = [
    "AddressError",
    "Group",
    "Mailbox",
    "canonical",
    "canonical_domain",
    "domain_to_unicode",
    "is_ascii",
    "mailboxes",
    "parse_address_list",
    "parse_path",
    "quote",
    "split",
    "subaddress",
    "unquote",
]
