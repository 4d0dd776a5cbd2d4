"""Limits of the world: how much is held for a peer, and how long it is waited for."""

from __future__ import annotations

READ_OCTETS_MAX = 64 * 1024
"""The most that one `Stream.read` gives; also the size of the read buffer all streams share."""

BUFFERED_OCTETS_MAX = 256 * 1024
"""Octets that came and were not read: past this, nothing more is taken from the system."""

BUFFERED_OCTETS_RESUME = 64 * 1024
"""At or below this, taking from the system goes on."""

UNSENT_OCTETS_HIGH = 64 * 1024
"""High-water mark: `Stream.drain` waits while more than this is unsent."""

UNSENT_OCTETS_LOW = 16 * 1024
"""A waiting `drain` goes on at or below this."""

TLS_PIECE_OCTETS = 16 * 1024
"""Pieces in which ciphertext and plaintext pass the memory BIOs, whose own buffers never shrink."""

TLS_REPLY_OCTETS_MAX = 64 * 1024
"""What TLS itself may owe a peer that does not read (answers to key updates) before it is cut."""

HANDSHAKE_SECONDS = 30.0
"""A TLS handshake takes no longer."""

CLOSE_SECONDS = 5.0
"""An orderly end takes no longer, then the connection is aborted."""

LISTEN_BACKLOG = 1024
"""Connections that wait to be accepted."""

KEEPALIVE_IDLE_SECONDS = 300
"""Silence after which the system asks whether the peer is still there."""

DATAGRAMS_WAITING_MAX = 1024
"""Datagrams that came and were not received; later ones are dropped, as UDP may."""

DATAGRAM_OCTETS_MAX = 65535
"""The largest datagram there can be."""

CPU_INLINE_OCTETS_MAX = 16 * 1024
"""Work over less input than this is done at once: sending it to another process costs more."""

CPU_WORKERS = 1
"""Processes for Python work of more than 2 ms."""

SWITCH_INTERVAL_SECONDS = 0.001
"""How soon a thread (COMMIT, fsync) gets the interpreter back from a busy loop. At Python's own
5 ms a writer thread beside a busy loop starves."""

OBJECT_CONNECT_SECONDS = 5
"""Wait for a connection to the object store."""

OBJECT_REQUEST_SECONDS = 30
"""One request to the object store, from its connection to the last octet of the answer."""

OBJECT_RETRIES_MAX = 2
"""A request to the object store that failed for reasons that may pass is made again so often."""

OBJECT_RETRY_SECONDS = 40
"""No further try of a request to the object store is begun after so long."""

MAIL_ADDRESSES_MAX = 20
"""Mail addresses of a client's certificate that are looked at."""
