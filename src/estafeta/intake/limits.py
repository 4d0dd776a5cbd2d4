"""Limits of the sessions we serve, with their units."""

HEADER_OCTETS_MAX = 512 * 1024
"""A header is held in memory until it is complete."""

COMMAND_TIMEOUT_SECONDS = 300.0
"""Between commands (RFC 5321 §4.5.3.2.7)."""

DATA_TIMEOUT_SECONDS = 600.0
"""Within a message: RFC 5321 §4.5.3.2.7 asks for 5 minutes at least."""

SEND_TIMEOUT_SECONDS = 300.0
"""A client that does not read our replies is waited for so long."""

GOODBYE_TIMEOUT_SECONDS = 5.0
"""And so long where we end the session ourselves."""

GREETING_TIMEOUT_SECONDS = 60.0
"""For a TLS handshake, implicit or by STARTTLS."""

PROXY_HEADER_SECONDS = 10.0
"""A proxy's header comes within this time of its connection."""

RECEIVED_FIELDS_MAX = 100
"""More of them are a loop (RFC 5321 §6.3)."""

SESSIONS_MAX = 2000
"""At once, over all listeners of a role; a setting."""

SESSIONS_PER_CLIENT_MAX = 100
"""At once from one address; a setting."""

SESSIONS_PER_NETWORK_MAX = 200
"""At once from one network; a setting."""

IPV4_NETWORK_BITS = 24
"""Of an IPv4 address: what is one network where networks are counted."""

IPV6_NETWORK_BITS = 64
"""Of an IPv6 address: what one customer gets at least."""

NETWORKS_REMEMBERED_MAX = 4096
"""Addresses of which it is remembered what network they count for."""

BUSY_LOOK_SECONDS = 1.0
"""How much there is to do is looked at so often."""

BUSY_MEMORY_UNTIL = 0.95
"""Who was short of memory takes new work again when it has so much of its limit."""

BUSY_DISK_UNTIL = 1.25
"""Who was short of disk, when so many times what must be free is free."""

BUSY_STORE_UNTIL = 0.5
"""Who was waited for by too many changes, when so much of the limit waits."""

LOGGED_USER_CHARACTERS_MAX = 254
"""Of the name in a failed login that is written to the log."""

CLAIM_SECONDS_MAX = 10.0
"""A message that may be a report of ours waits so long for being read, before it is taken as it is.
"""

CLAIMS_MAX = 50
"""Recipients of one report that become events of the message it concerns."""

CLAIM_TEXT_CHARACTERS_MAX = 1000
"""Of another server's words in such an event."""

CLAIM_NAME_CHARACTERS_MAX = 256
"""Of an address or a host in it."""

CLAIM_CANDIDATES_MAX = 20
"""Messages of ours that are looked at for the one that a report without our token concerns."""

TARPIT_ERRORS_FREE = 2
"""Errors of a session whose answers come at once; see the setting `tarpit`."""

TARPIT_SECONDS_MAX = 10.0
"""No answer is held back longer: RFC 5321 §4.5.3.2 has clients wait 5 minutes."""
