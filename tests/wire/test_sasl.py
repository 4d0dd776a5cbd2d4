"""wire.sasl."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estafeta.wire import sasl
from estafeta.wire.sasl import (
    Challenge,
    CheckPassword,
    Failure,
    LookUpKeys,
    ScramKeys,
    Success,
    client_mechanism,
    saslprep,
    scram_keys,
    server_mechanism,
)
from estafeta.wire.sasl.scram import (
    attributes,
    client_key,
    decode_name,
    encode_name,
    mac,
    salted_password,
    xor,
)

SECRET = b"of the installation"
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
KEYS = scram_keys("pencil", SALT, 4096)
CLIENT_NONCE = "rOprNGfwEbeRWgbNEkqO"
SERVER_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"


def scram(**bindings: bytes) -> sasl.ServerMechanism:
    return server_mechanism(
        "SCRAM-SHA-256",
        nonce=SERVER_NONCE,
        secret=SECRET,
        channel_bindings={name.replace("_", "-"): data for name, data in bindings.items()},
    )


def talk(name: str, user: str, password: str, accounts: dict[str, str]) -> Success | Failure:
    """One exchange between our client and our server."""
    client = client_mechanism(name, authcid=user, password=password, nonce="client")
    server = server_mechanism(name, nonce="server", secret=SECRET)
    step = server.step(client.initial())
    for _ in range(6):
        match step:
            case Challenge(data):
                step = server.step(client.respond(data))
            case CheckPassword(authcid, _, given_password):
                step = server.password_checked(accounts.get(authcid) == given_password)
            case LookUpKeys(authcid):
                known = accounts.get(authcid)
                step = server.keys(None if known is None else scram_keys(known, SALT, 10))
            case Success() | Failure():
                if isinstance(step, Success):
                    client.finish()
                return step
    raise AssertionError("the exchange does not end")


@pytest.mark.parametrize("name", sasl.MECHANISMS)
def test_client_and_server_agree(name: str) -> None:
    # A name with what SCRAM escapes; a password that SASLprep changes.
    accounts = {"a=b,c@x.example": "pass word 🐎"}
    assert isinstance(talk(name, "a=b,c@x.example", "pass word 🐎", accounts), Success)
    assert isinstance(talk(name, "a=b,c@x.example", "pass word", accounts), Failure)


@pytest.mark.parametrize("name", sasl.MECHANISMS)
def test_no_account(name: str) -> None:
    if name != "SCRAM-SHA-256":
        assert isinstance(talk(name, "eva", "x", {}), Failure)


def test_the_exchange_of_rfc_7677() -> None:
    server = scram()
    assert server.step(f"n,,n=user,r={CLIENT_NONCE}".encode()) == LookUpKeys("user", "")
    challenge = server.keys(KEYS)
    assert challenge == Challenge(
        f"r={CLIENT_NONCE}{SERVER_NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".encode()
    )
    client = client_mechanism(
        "SCRAM-SHA-256", authcid="user", password="pencil", nonce=CLIENT_NONCE
    )
    client.initial()
    proof = client.respond(challenge.data)
    assert proof.endswith(b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    final = server.step(proof)
    assert final == Challenge(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    assert client.respond(final.data) == b""
    client.finish()
    assert server.step(b"") == Success("user", "")


def test_a_name_without_account_looks_like_one() -> None:
    def first(name: str, nonce: str) -> dict[str, str]:
        server = server_mechanism("SCRAM-SHA-256", nonce=nonce, secret=SECRET)
        server.step(f"n,,n={name},r=c".encode())
        challenge = server.keys(None)
        assert isinstance(challenge, Challenge)
        return dict(attributes(challenge.data.decode()))

    one, again, other = first("eva", "1"), first("eva", "2"), first("adam", "1")
    assert one["s"] == again["s"] != other["s"]
    assert len(base64.b64decode(one["s"])) == 16
    assert one["i"] == str(sasl.ITERATIONS)


def test_without_keys_no_proof_is_right() -> None:
    server = scram()
    server.step(b"n,,n=eva,r=c")
    server.keys(None)
    zeros = base64.b64encode(bytes(32)).decode()
    assert server.step(f"c=biws,r=c{SERVER_NONCE},p={zeros}".encode()) == Failure(
        "wrong password, no such account, or disabled"
    )


@pytest.mark.parametrize(
    ("message", "malformed"),
    [
        (b"", True),
        (b"n", True),
        (b"n,n=user,r=c", True),
        (b"x,,n=user,r=c", True),
        (b"n,user,n=user,r=c", True),
        (b"n,,m=x,n=user,r=c", True),
        (b"n,,r=c,n=user", True),
        (b"n,,n=user", True),
        (b"n,,n=user,r=", True),
        (b"n,,n=,r=c", True),
        (b"n,,n=us=er,r=c", True),
        (b"n,,n=us\0er,r=c", True),
        (b"n,,n=\xff,r=c", True),
        (b"n,,n=us\xe2\x80\xa8er,r=c", True),
        (b"p=tls-exporter,,n=user,r=c", False),
    ],
)
def test_bad_first_messages(message: bytes, malformed: bool) -> None:
    step = scram().step(message)
    assert isinstance(step, Failure)
    assert step.malformed == malformed


@pytest.mark.parametrize(
    "message",
    [
        "c=biws,r=c{nonce}",
        "c=biws,r=c,p=AAAA",
        "c=eSws,r=c{nonce},p=AAAA",
        "r=c{nonce},p=AAAA",
        "c=biws,r=c{nonce},p=*",
        "c=biws,r=c{nonce},p=AAAA",
        "c=biws,r=c{nonce},p=",
        "c,r=c{nonce},p=AAAA",
    ],
)
def test_bad_last_messages(message: str) -> None:
    server = scram()
    server.step(b"n,,n=user,r=c")
    server.keys(KEYS)
    assert isinstance(server.step(message.format(nonce=SERVER_NONCE).encode()), Failure)


END_POINT = b"hash of a certificate"


def plus(name: str = "SCRAM-SHA-256-PLUS", binding: bytes = END_POINT) -> sasl.ServerMechanism:
    bindings = {"tls-server-end-point": binding} if binding else {}
    return server_mechanism(name, nonce=SERVER_NONCE, secret=SECRET, channel_bindings=bindings)


@pytest.mark.parametrize(
    ("name", "flag", "binding", "refused"),
    [
        # RFC 5802 §6, as the server.
        ("SCRAM-SHA-256", "n", b"", None),
        ("SCRAM-SHA-256", "n", END_POINT, None),
        ("SCRAM-SHA-256", "y", b"", None),
        ("SCRAM-SHA-256", "y", END_POINT, "channel binding was offered and is said not to be"),
        ("SCRAM-SHA-256", "p=tls-server-end-point", b"", "a channel binding belongs to -PLUS"),
        ("SCRAM-SHA-256", "p=tls-server-end-point", END_POINT, "a channel binding belongs to"),
        ("SCRAM-SHA-256-PLUS", "p=tls-server-end-point", END_POINT, None),
        ("SCRAM-SHA-256-PLUS", "p=tls-server-end-point", b"", "no such channel binding"),
        ("SCRAM-SHA-256-PLUS", "p=tls-unique", END_POINT, "no such channel binding is offered"),
        ("SCRAM-SHA-256-PLUS", "p=tls-exporter", END_POINT, "no such channel binding is offered"),
        ("SCRAM-SHA-256-PLUS", "p=", END_POINT, "no such channel binding is offered"),
        ("SCRAM-SHA-256-PLUS", "p", END_POINT, "no channel binding flag"),
        ("SCRAM-SHA-256-PLUS", "n", END_POINT, "-PLUS binds the channel"),
        ("SCRAM-SHA-256-PLUS", "y", END_POINT, "-PLUS binds the channel"),
    ],
)
def test_channel_binding_flags(name: str, flag: str, binding: bytes, refused: str | None) -> None:
    step = plus(name, binding).step(f"{flag},,n=user,r=c".encode())
    if refused is None:
        assert step == LookUpKeys("user", "")
    else:
        assert isinstance(step, Failure)
        assert step.reason.startswith(refused)


@pytest.mark.parametrize(
    ("seen", "same"), [(END_POINT, True), (b"hash of another", False), (END_POINT + b"x", False)]
)
def test_a_client_that_binds_and_one_with_somebody_between(seen: bytes, same: bool) -> None:
    server = plus()
    client = client_mechanism(
        "SCRAM-SHA-256-PLUS", authcid="user", password="pencil", nonce="c", end_point=seen
    )
    assert client.name == "SCRAM-SHA-256-PLUS"
    assert server.step(client.initial()) == LookUpKeys("user", "")
    challenge = server.keys(KEYS)
    assert isinstance(challenge, Challenge)
    step = server.step(client.respond(challenge.data))
    if same:
        assert isinstance(step, Challenge)
        assert server.step(client.respond(step.data)) == Success("user", "")
        client.finish()
    else:
        # The proof is right: only the binding tells.
        assert step == Failure("channel bindings do not match")


def test_who_rewrites_the_binding_has_no_proof() -> None:
    """In the middle: the client's header and binding replaced by what our server expects."""
    server = plus()
    client = client_mechanism(
        "SCRAM-SHA-256-PLUS", authcid="user", password="pencil", nonce="c", end_point=b"another"
    )
    server.step(client.initial())
    challenge = server.keys(KEYS)
    assert isinstance(challenge, Challenge)
    said = client.respond(challenge.data).split(b",", 1)
    right = base64.b64encode(b"p=tls-server-end-point,," + END_POINT)
    assert server.step(b"c=" + right + b"," + said[1]) == Failure(sasl.REFUSED)


def test_a_client_that_could_bind_says_so() -> None:
    """RFC 5802 §6: "y" where -PLUS was not seen, so that taking it off the list is found out."""
    client = client_mechanism(
        "SCRAM-SHA-256", authcid="user", password="pencil", nonce="c", end_point=END_POINT
    )
    assert client.initial() == b"y,,n=user,r=c"
    assert isinstance(plus("SCRAM-SHA-256").step(client.initial()), Failure)
    assert isinstance(plus("SCRAM-SHA-256", b"").step(client.initial()), LookUpKeys)
    with pytest.raises(ValueError, match="no channel"):
        client_mechanism("SCRAM-SHA-256-PLUS", authcid="u", password="p", nonce="c")


def test_what_is_offered() -> None:
    assert sasl.mechanisms() == sasl.MECHANISMS
    assert sasl.mechanisms(binding=True) == ("SCRAM-SHA-256-PLUS", *sasl.MECHANISMS)
    assert sasl.mechanisms(certificate=True) == ("EXTERNAL", *sasl.MECHANISMS)


@pytest.mark.parametrize(
    ("response", "asked"),
    [
        (None, None),
        (b"", sasl.CheckCertificate("")),
        (b"ana@x.example", sasl.CheckCertificate("ana@x.example")),
        (b"a\0b", "NUL, or too long a field"),
        (b"\xff", "UTF-8 was expected"),
        (b"a" * 2000, "NUL, or too long a field"),
    ],
)
def test_external(response: bytes | None, asked: sasl.CheckCertificate | str | None) -> None:
    server = server_mechanism("EXTERNAL", nonce="", secret=SECRET)
    step = server.step(response)
    if asked is None:
        assert step == Challenge(b"")
        step = server.step(b"")
        assert step == sasl.CheckCertificate("")
        assert server.certificate_checked("") == Failure(sasl.REFUSED)
    elif isinstance(asked, str):
        assert step == Failure(asked, malformed=True)
    else:
        assert step == asked
        assert server.certificate_checked("ana@x.example") == Success(
            "ana@x.example", asked.authzid
        )
    with pytest.raises(RuntimeError):
        server.certificate_checked("ana@x.example")


def test_external_as_the_client() -> None:
    client = client_mechanism(
        "EXTERNAL", authcid="", password="", nonce="", authzid="ana@x.example"
    )
    assert client.initial() == b"ana@x.example"
    client.finish()
    with pytest.raises(sasl.SaslError):
        client.respond(b"")


def test_plain() -> None:
    def plain(message: bytes | None) -> sasl.Step:
        return server_mechanism("PLAIN", nonce="", secret=SECRET).step(message)

    assert plain(None) == Challenge(b"")
    assert plain(b"\0user\0pencil") == CheckPassword("user", "", "pencil")
    assert plain(b"root\0user\0pencil") == CheckPassword("user", "root", "pencil")
    # RFC 4013: the soft hyphen vanishes, a full-width letter is a letter.
    assert plain("\0us\u00ader\0\uff50encil".encode()) == CheckPassword("user", "", "pencil")
    for bad in (b"", b"user", b"user\0pencil", b"a\0b\0c\0d", b"\0\xff\0x", b"\0u\0" + b"x" * 2000):
        step = plain(bad)
        assert isinstance(step, Failure)
        assert step.malformed
    assert plain(b"\0user\0") == Failure("no name or no password")
    assert plain(b"\0" * 9000) == Failure("response too long", malformed=True)


def test_login_takes_the_name_with_the_command_too() -> None:
    server = server_mechanism("LOGIN", nonce="", secret=SECRET)
    assert server.step(b"user") == Challenge(b"Password:")
    assert server.step(b"pencil") == CheckPassword("user", "", "pencil")
    assert server.password_checked(ok=True) == Success("user", "")


def test_out_of_order_is_our_bug() -> None:
    server = server_mechanism("PLAIN", nonce="", secret=SECRET)
    with pytest.raises(RuntimeError):
        server.password_checked(ok=True)
    server.step(b"\0user\0pencil")
    with pytest.raises(RuntimeError):
        server.step(b"\0user\0pencil")
    with pytest.raises(RuntimeError):
        server.keys(None)
    server.password_checked(ok=False)
    with pytest.raises(RuntimeError):
        server.step(b"\0user\0pencil")
    with pytest.raises(KeyError):
        server_mechanism("CRAM-MD5", nonce="", secret=SECRET)


@pytest.mark.parametrize(
    "challenge",
    [
        b"r=other,s=AAAA,i=4096",
        b"r=client,s=AAAA,i=4096",
        b"r=client1,s=AAAA,i=0",
        b"r=client1,s=AAAA,i=999999999",
        b"r=client1,s=AAAA,i=x",
        b"r=client1,s=*,i=4096",
        b"r=client1,s=AAAA",
        b"m=x,r=client1,s=AAAA,i=4096",
        b"\xff",
        b"",
    ],
)
def test_a_client_refuses_a_server_that_cheats(challenge: bytes) -> None:
    client = client_mechanism("SCRAM-SHA-256", authcid="u", password="p", nonce="client")
    client.initial()
    with pytest.raises(sasl.SaslError):
        client.respond(challenge)


def test_a_challenge_too_many() -> None:
    plain = client_mechanism("PLAIN", authcid="u", password="p", nonce="")
    assert plain.initial() == b"\0u\0p"
    plain.finish()
    with pytest.raises(sasl.SaslError):
        plain.respond(b"")
    login = client_mechanism("LOGIN", authcid="u", password="p", nonce="")
    assert (login.respond(b"User Name"), login.respond(b"Password")) == (b"u", b"p")
    with pytest.raises(sasl.SaslError):
        login.respond(b"Again")


def test_a_server_that_does_not_know_the_password_is_found_out() -> None:
    client = client_mechanism("SCRAM-SHA-256", authcid="u", password="p", nonce="client")
    client.initial()
    client.respond(b"r=client1,s=AAAA,i=4096")
    with pytest.raises(sasl.SaslError):
        client.finish()
    with pytest.raises(sasl.SaslError):
        client.respond(b"v=" + base64.b64encode(bytes(32)))


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        # RFC 4013 §3.
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("\u0627\u0628", "\u0627\u0628"),
    ],
)
def test_saslprep(text: str, prepared: str) -> None:
    assert saslprep(text) == prepared


@pytest.mark.parametrize("text", ["\u0007", "\u06271", "a\u0627", "\ue000", "\ufffd"])
def test_saslprep_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"SASLprep|mixed"):
        saslprep(text)
    assert sasl.prepared_password(text) == text


@settings(deadline=None)
@given(st.text(max_size=20))
def test_names_survive_scram(name: str) -> None:
    assert "," not in encode_name(name)
    assert decode_name(encode_name(name)) == name or "\0" in name


@settings(deadline=None)
@given(
    st.sampled_from(sasl.mechanisms(binding=True, certificate=True)),
    st.lists(st.binary(max_size=40), max_size=4),
)
def test_nothing_a_client_says_raises(name: str, responses: list[bytes]) -> None:
    server = server_mechanism(name, nonce="n", secret=SECRET)
    for response in responses:
        step = server.step(response)
        if isinstance(step, CheckPassword):
            step = server.password_checked(ok=False)
        elif isinstance(step, LookUpKeys):
            step = server.keys(KEYS)
        elif isinstance(step, sasl.CheckCertificate):
            step = server.certificate_checked("")
        assert not isinstance(step, Success)
        if isinstance(step, Failure):
            break


def test_keys_do_not_hold_the_password() -> None:
    assert isinstance(KEYS, ScramKeys)
    assert b"pencil" not in KEYS.stored_key + KEYS.server_key + KEYS.salt


def test_a_proof_for_another_nonce_is_refused() -> None:
    server = scram()
    server.step(b"n,,n=user,r=c")
    challenge = server.keys(KEYS)
    assert isinstance(challenge, Challenge)
    without_proof = "c=biws,r=replayed"
    message = f"n=user,r=c,{challenge.data.decode()},{without_proof}".encode()
    key = client_key(salted_password("pencil", SALT, 4096))
    proof = xor(key, mac(KEYS.stored_key, message))
    answer = f"{without_proof},p={base64.b64encode(proof).decode()}".encode()
    assert server.step(answer) == Failure("nonce differs")
