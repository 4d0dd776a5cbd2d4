"""Config: every setting of estafeta.toml, its type, its default and what it is for.

The structs below are the only list of settings: reading, `estafeta config show` and
docs/settings.md are made from them. `assemble` maps them onto what each room wants.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from estafeta.office.config_reception import Busy, Greylist, Lists, Rates
from estafeta.office.config_section import DAY, HOUR, MINUTE, Section, about
from estafeta.office.config_types import (
    Count,
    DnsServer,
    Duration,
    HostName,
    Language,
    ListenAddress,
    Network,
    OptionalAddress,
    OwnCount,
    OwnDuration,
    Port,
    Rate,
    Size,
    StoreUrl,
    Workers,
)


class Server(Section, frozen=True):
    """The installation as a whole."""

    hostname: Annotated[
        HostName,
        about(
            "The name this installation greets and signs with. Empty: the machine's own full name."
        ),
    ] = ""
    data_dir: Annotated[
        str, about("Folder of the store and everything else that is kept. Absolute, or from here.")
    ] = "/var/lib/estafeta"
    store: Annotated[
        StoreUrl,
        about(
            "Where the store is: SQLite, `sqlite:///path`, or an existing database of PostgreSQL, "
            "`postgresql://user@host/database`, with a password as libpq finds it (PGPASSWORD, "
            "~/.pgpass). Empty: `estafeta.db`, SQLite, in `data_dir`."
        ),
    ] = ""
    user: Annotated[
        str,
        about(
            "User to become after binding, when started as root. Empty: stay who we are.",
            example='"estafeta"',
        ),
    ] = ""
    group: Annotated[
        str,
        about("Group to become with it. Empty: the user's main group.", example='"estafeta"'),
    ] = ""
    language: Annotated[
        Language, about("Language of what we write to people where theirs is not known.")
    ] = "en"
    postmaster: Annotated[
        str,
        about(
            "Address that reports come from and go to. Empty: postmaster@ the host name.",
            example='"postmaster@example.org"',
        ),
    ] = ""
    workers: Annotated[
        Workers,
        about(
            "Processes that serve, each with every role and listener; as many as the machine has "
            "cores at most. On SQLite reading, TLS, parsing and relaying gain by them, writing "
            "little. 1: no other process at all."
        ),
    ] = 1
    stop_seconds: Annotated[
        Duration, about("A clean stop waits at most so long for what has begun.")
    ] = 30.0


class Log(Section, frozen=True):
    """What is logged, to standard error."""

    format: Annotated[
        Literal["auto", "json", "pretty"],
        about("Form of a line. `auto`: pretty on a terminal, else JSON."),
    ] = "auto"
    level: Annotated[
        Literal["debug", "info", "warning", "error"], about("The least level that is logged.")
    ] = "info"


class Listener(Section, frozen=True):
    """One door. Once one `[[listener]]` is given, only those given are opened."""

    role: Annotated[
        Literal["mx", "submission", "lmtp", "imap", "pop3", "http"], about("What is spoken there.")
    ]
    address: Annotated[
        ListenAddress,
        about("IP address; `*`: every IPv4 and IPv6 address. Default: `*`, `http` 127.0.0.1."),
    ] = ""
    port: Annotated[
        Port,
        about("TCP port. 0: a free one, told in the log. Default: the usual one.", example="587"),
    ] = -1
    path: Annotated[
        str,
        about(
            "Unix socket in place of address and port (`lmtp` only). Who may enter its folder may "
            "connect.",
            example='"/run/estafeta/lmtp"',
        ),
    ] = ""
    tls: Annotated[
        Literal["none", "starttls", "implicit", ""],
        about("`none`, `starttls` (offered), or `implicit` (from the first byte). Default: usual"),
    ] = ""
    proxy_networks: Annotated[
        list[Network],
        about(
            "Networks of proxies (HAProxy and the like): who connects from there must begin with a "
            "header of the PROXY protocol, 1 or 2, which says who the client is. Not for `http`.",
            example='["192.0.2.10/32"]',
        ),
    ] = msgspec.field(default_factory=list)


class Certificate(Section, frozen=True):
    """A certificate and its key, PEM files. The one whose names fit the client's SNI is shown."""

    certificate: Annotated[
        str,
        about(
            "File with the certificate, then its intermediates.",
            example='"/etc/estafeta/mail.pem"',
        ),
    ]
    key: Annotated[
        str,
        about(
            "File with the private key. The `user` must be able to read it, for reloads.",
            example='"/etc/estafeta/mail.key"',
        ),
    ]


class Tls(Section, frozen=True):
    """TLS of our listeners."""

    certificates: Annotated[
        list[Certificate], about("Certificates; the first one is shown where no name fits.")
    ] = msgspec.field(default_factory=list)
    self_signed: Annotated[
        bool,
        about("Without a certificate: make and show a self-signed one, kept in `data_dir`."),
    ] = False
    channel_binding: Annotated[
        bool,
        about(
            "Offer SCRAM-SHA-256-PLUS, which binds a login to the certificate it was made over "
            "(tls-server-end-point). Off: for clients that insist on another kind of binding."
        ),
    ] = True
    warn_before_expiry: Annotated[
        Duration,
        about("A certificate that ends sooner is warned of in the log, once a day. 0s: never."),
    ] = 14 * DAY
    client_authorities: Annotated[
        str,
        about(
            "File with the authorities, PEM, whose client certificates may log in (SASL EXTERNAL) "
            "at submission, IMAP and POP3: the account is the mail address in the certificate. "
            "Clients are asked for one and need none. Empty: they are not asked.",
            example='"/etc/estafeta/people-ca.pem"',
        ),
    ] = ""


class Smtp(Section, frozen=True):
    """Taking mail in, all three roles."""

    size_max: Annotated[
        Size, about("Largest message, octets (SIZE). At least 64 KiB.", least=65536)
    ] = 50 * 1024 * 1024
    recipients_max: Annotated[
        Count, about("Recipients in one transaction; RFC 5321 wants at least 100.", least=100)
    ] = 1000
    connections_max: Annotated[
        Count,
        about("Connections at once at one listener, all workers together; the next one gets 421."),
    ] = 1000
    connections_per_address_max: Annotated[Count, about("The same from one IP address.")] = 100
    connections_per_network_max: Annotated[
        Count, about("The same from one network (/24 of IPv4, /64 of IPv6).")
    ] = 200
    greeting_delay: Annotated[
        Duration, about("Wait before the greeting on port 25: who talks before it gets 554.")
    ] = 0.0
    tarpit: Annotated[
        Duration,
        about(
            "From its third error in a session on, a client waits so long for each answer that "
            "refuses something, and twice as long for each further one, 10 s at most. 0s: never."
        ),
    ] = 1.0
    prdr: Annotated[
        bool,
        about(
            "Offer PRDR on port 25: whoever speaks it gets an answer for each recipient after the "
            "message, as by LMTP."
        ),
    ] = True
    plaintext_auth_networks: Annotated[
        list[Network],
        about("Networks from which passwords may come without TLS (SMTP, IMAP, POP3)."),
    ] = msgspec.field(default_factory=list)
    relay_networks: Annotated[
        list[Network],
        about(
            "Networks that may send to anybody without a password, on submission ports: port 25 "
            "(`mx`) takes mail for our own domains only."
        ),
    ] = msgspec.field(default_factory=list)


class Submission(Section, frozen=True):
    """Mail from our own people."""

    remember_submissions: Annotated[
        bool,
        about(
            "Recognise, for 15 minutes, a message sent again because the connection broke before "
            "its answer arrived: each recipient gets it once."
        ),
    ] = True
    limit: Annotated[
        Rate,
        about(
            "Recipients one account may write to. Who exceeds it may have lost a password to "
            "somebody: it sends nothing more until an administrator lets it, what waits is held, "
            "and both are told. Empty: as many as go.",
            example='"200/1h"',
        ),
    ] = "1000/1h"


class Dns(Section, frozen=True):
    """Asking the DNS."""

    servers: Annotated[
        list[DnsServer], about("Recursive resolvers to ask. Empty: those of /etc/resolv.conf.")
    ] = msgspec.field(default_factory=list)
    timeout: Annotated[
        Duration, about("Wait for one server's answer before the next is asked.")
    ] = 5.0


class Route(Section, frozen=True):
    """A domain whose mail goes elsewhere than its MX records say; `*` makes a smarthost."""

    domain: Annotated[
        str,
        about(
            "The recipients' domain; `.example.org` is all below it, `*` all others.",
            example='"example.org"',
        ),
    ]
    hosts: Annotated[
        list[str],
        about("Host names or addresses, tried in order.", example='["mx.example.org"]'),
    ]
    port: Annotated[Port, about("Port; 0: the relay's port.")] = 0
    protocol: Annotated[Literal["smtp", "lmtp"], about("What is spoken there.")] = "smtp"
    tls: Annotated[
        Literal["none", "opportunistic", "required", "verified", "implicit", ""],
        about(
            "As `tls` of the relay; `implicit`: TLS from the first byte (port 465). Empty: what is "
            "said there."
        ),
    ] = ""
    username: Annotated[
        str, about("Name to log in with. Empty: no login.", example='"estafeta"')
    ] = ""
    password: Annotated[
        str, about("Password to log in with.", secret=True, example='"correct horse"')
    ] = ""
    password_file: Annotated[
        str,
        about(
            "File that holds the password, on its first line.",
            example='"/etc/estafeta/smarthost"',
        ),
    ] = ""


class Relay(Section, frozen=True):
    """Sending to other servers."""

    port: Annotated[Port, about("Port of other servers. Anything but 25 is for rehearsals.")] = 25
    hello_name: Annotated[
        HostName, about("Name said in EHLO. Empty: the host name of the server.")
    ] = ""
    source_ipv4: Annotated[
        OptionalAddress, about("Address to connect from over IPv4. Empty: the system's choice.")
    ] = ""
    source_ipv6: Annotated[
        OptionalAddress, about("Address to connect from over IPv6. Empty: the system's choice.")
    ] = ""
    tls: Annotated[
        Literal["none", "opportunistic", "required", "verified"],
        about(
            "STARTTLS: `opportunistic` where offered, `required` always, `verified` only with a "
            "certificate that holds; without it the mail waits."
        ),
    ] = "opportunistic"
    no_mx: Annotated[
        Literal["defer", "bounce"],
        about("A domain with neither MX nor address: try again (`defer`) or return at once."),
    ] = "defer"
    no_mx_exceptions: Annotated[
        list[str],
        about(
            "Domains for which the other of the two holds; `.example.org` is all below it.",
            example='["parked.example"]',
        ),
    ] = msgspec.field(default_factory=list)
    wait_max: Annotated[
        Duration,
        about(
            "Longest wait for one answer of another server. 0: the waits of RFC 5321, 2 to 10 "
            "minutes. Less is for rehearsals."
        ),
    ] = 0
    allow_networks: Annotated[
        list[Network],
        about("Loopback or private networks that mail may be sent to in spite of the guard."),
    ] = msgspec.field(default_factory=list)
    routes: Annotated[
        list[Route], about("Static routes, `[[relay.routes]]`; they go before the DNS.")
    ] = msgspec.field(default_factory=list)


class QueueDomain(Section, frozen=True):
    """A domain that is tried otherwise than all others. What is not said is as in `[queue]`."""

    domain: Annotated[
        str,
        about(
            "The recipients' domain; `.example.org` is all below it, `*` all others. The one "
            "nearest to the name counts.",
            example='"example.org"',
        ),
    ]
    retry: Annotated[
        list[Duration],
        about(
            "Waits before the second attempt, the third, and so on. Empty: as in `[queue]`.",
            example='["1m", "10m", "1h"]',
        ),
    ] = msgspec.field(default_factory=list)
    repeat: Annotated[
        OwnDuration,
        about("Wait between attempts after the list is used up. 0s: it ends.", example='"2h"'),
    ] = -1.0
    give_up_after: Annotated[
        OwnDuration,
        about(
            "A message older than this is returned to its sender. 0s: age does not count.",
            example='"2d"',
        ),
    ] = -1.0
    retries_max: Annotated[
        OwnCount,
        about("Returned after so many retries even when younger. 0: no number.", example="10"),
    ] = -1
    concurrency: Annotated[
        OwnCount, about("Deliveries at once, as long as it takes so many.", example="5")
    ] = -1
    rate: Annotated[
        OwnCount, about("Messages a minute at most. 0: as many as go.", example="60")
    ] = -1


class Queue(Section, frozen=True):
    """Trying again: a list of waits with `repeat` and `give_up_after`, or a list and a number.

    A server that has no time for anybody is asked by one message at a time, whatever waits for it.
    """

    retry: Annotated[
        list[Duration],
        about(
            "Waits before the second attempt, the third, and so on; each is taken 10 % shorter or "
            "longer, by chance."
        ),
    ] = msgspec.field(
        default_factory=lambda: [
            *(5 * MINUTE, 10 * MINUTE, 20 * MINUTE, 40 * MINUTE),
            *(HOUR, 2 * HOUR, 4 * HOUR),
        ]
    )
    repeat: Annotated[
        Duration,
        about("Wait between attempts after the list is used up. 0s: the message is returned then."),
    ] = 6 * HOUR
    give_up_after: Annotated[
        Duration,
        about(
            "A message older than this is returned to its sender, after a last try just then. 0s: "
            "only the list, or `retries_max`, ends it."
        ),
    ] = 5 * DAY
    retries_max: Annotated[
        int,
        about(
            "Returned after so many retries even when younger. 0: only age, or the list, counts."
        ),
    ] = 0
    park_max: Annotated[
        Duration,
        about(
            "What others refuse for a fault of our own set-up (no reverse DNS, a blocked address, "
            "an SPF record that lacks us …) is held so long for it to be repaired, and then "
            "returned. 0s: returned at once."
        ),
    ] = 2 * DAY
    park_check: Annotated[
        Duration,
        about("Such a fault is checked so often; once it is mended, what is held is sent."),
    ] = 10 * MINUTE
    concurrency: Annotated[
        Count, about("Deliveries at once, all destinations and workers together.")
    ] = 200
    per_destination_concurrency: Annotated[
        Count,
        about(
            "The same to one domain, as long as it takes so many: it begins with 5, one more with "
            "each that is answered, half as many when a server has no time."
        ),
    ] = 20
    per_destination_rate: Annotated[
        int, about("Messages a minute to one domain. 0: as many as go.")
    ] = 0
    host_backoff: Annotated[
        Duration,
        about(
            "A server that fails as a whole (no connection, 421, too many connections) is left "
            "alone for so long by all messages; twice as long with each further failure."
        ),
    ] = MINUTE
    host_backoff_max: Annotated[Duration, about("The longest of these pauses.")] = HOUR
    domains: Annotated[
        list[QueueDomain], about("Domains tried otherwise, `[[queue.domains]]`.")
    ] = msgspec.field(default_factory=list)


class Notices(Section, frozen=True):
    """Reports on delivery to those who send."""

    support: Annotated[
        str,
        about(
            "Address that reports name for help. Empty: the postmaster.",
            example='"help@example.org"',
        ),
    ] = ""
    delay_after: Annotated[
        Duration,
        about(
            "The sender of a message that has not been delivered for so long is told, once, that "
            "we go on trying. 0s: never."
        ),
    ] = 4 * HOUR
    double_bounce: Annotated[
        Literal["postmaster", "drop"],
        about(
            "What becomes of a message without a return address that cannot be delivered, such as "
            "a bounce: the postmaster gets it, where that is one of our accounts, or nobody."
        ),
    ] = "postmaster"


class Bodies(Section, frozen=True):
    """The octets of messages. Up to 256 KiB they are in the store itself."""

    large: Annotated[
        Literal["files", "s3"],
        about(
            "Where larger ones go: files in `data_dir`, or the bucket of `[s3]`. Those that are "
            "there already stay where they are, and are read from there."
        ),
    ] = "files"
    cache_max: Annotated[
        Size, about("Disk each process may use to keep bodies from the bucket at hand.")
    ] = 1024 * 1024 * 1024


class S3(Section, frozen=True):
    """A bucket of Amazon S3, or of a server that speaks like it; needs `estafeta[s3]`.

    Without keys here those of the environment are used: AWS_ACCESS_KEY_ID and
    AWS_SECRET_ACCESS_KEY, a web identity, the role of the container or of the machine.
    """

    bucket: Annotated[
        str,
        about(
            "Name of the bucket. Needed as long as bodies lie there. Empty: none.",
            example='"mail-bodies"',
        ),
    ] = ""
    endpoint: Annotated[
        str,
        about(
            "URL of the server. Empty: Amazon's of that region, or AWS_ENDPOINT_URL.",
            example='"https://s3.example.org"',
        ),
    ] = ""
    region: Annotated[
        str, about("Region. Empty: AWS_REGION, or us-east-1.", example='"eu-west-1"')
    ] = ""
    prefix: Annotated[
        str,
        about(
            "What names in the bucket begin with. One installation alone may use a prefix.",
            example='"mail/"',
        ),
    ] = ""
    authorities: Annotated[
        str,
        about(
            "PEM file of authorities trusted for the server's certificate besides the system's.",
            example='"s3-authorities.pem"',
        ),
    ] = ""
    addressing: Annotated[
        Literal["path", "host"],
        about("Whether the bucket's name is in the path of the URL, or before its host."),
    ] = "path"
    access_key_id: Annotated[
        str, about("Access key. Empty: as the environment says.", example='"AKIAEXAMPLE"')
    ] = ""
    secret_access_key: Annotated[
        str, about("The key's secret.", secret=True, example='"correct horse"')
    ] = ""
    secret_access_key_file: Annotated[
        str,
        about("File that holds the secret, on its first line.", example='"/etc/estafeta/s3"'),
    ] = ""


class Imap(Section, frozen=True):
    """IMAP."""

    idle_timeout: Annotated[
        Duration, about("A client may be silent for so long; RFC 3501 wants 30 minutes.")
    ] = 30 * MINUTE


class Pop3(Section, frozen=True):
    """POP3."""

    idle_timeout: Annotated[
        Duration, about("A client may be silent for so long; RFC 1939 wants 10 minutes.")
    ] = 10 * MINUTE


class Http(Section, frozen=True):
    """HTTP: /healthz, /metrics and the API."""

    metrics: Annotated[bool, about("Answer /metrics, for Prometheus.")] = True
    api: Annotated[
        bool, about("Answer /api/v1 for those who show a token (`estafeta token add`).")
    ] = True
    plaintext_token_networks: Annotated[
        list[Network],
        about("Networks from which tokens may come without TLS, besides this machine."),
    ] = msgspec.field(default_factory=list)


class Config(Section, frozen=True):
    """The whole of estafeta.toml."""

    server: Server = msgspec.field(default_factory=Server)
    log: Log = msgspec.field(default_factory=Log)
    listener: list[Listener] = msgspec.field(default_factory=list)
    tls: Tls = msgspec.field(default_factory=Tls)
    smtp: Smtp = msgspec.field(default_factory=Smtp)
    submission: Submission = msgspec.field(default_factory=Submission)
    greylist: Greylist = msgspec.field(default_factory=Greylist)
    rates: Rates = msgspec.field(default_factory=Rates)
    lists: Lists = msgspec.field(default_factory=Lists)
    busy: Busy = msgspec.field(default_factory=Busy)
    dns: Dns = msgspec.field(default_factory=Dns)
    relay: Relay = msgspec.field(default_factory=Relay)
    queue: Queue = msgspec.field(default_factory=Queue)
    notices: Notices = msgspec.field(default_factory=Notices)
    bodies: Bodies = msgspec.field(default_factory=Bodies)
    s3: S3 = msgspec.field(default_factory=S3)
    imap: Imap = msgspec.field(default_factory=Imap)
    pop3: Pop3 = msgspec.field(default_factory=Pop3)
    http: Http = msgspec.field(default_factory=Http)
