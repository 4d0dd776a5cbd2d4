"""The grammar of commands (RFC 3501 §9): what is read, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estafeta.wire.imap import commands as a
from estafeta.wire.imap import limits
from estafeta.wire.imap.commands import SequenceSet, State
from estafeta.wire.imap.cursor import BadCommand
from estafeta.wire.imap.parse import TABLE, command


def parse(text: str, *literals: bytes, state: State = State.SELECTED) -> a.Command:
    return command(b"t " + text.encode(), list(literals), state)


def refused(text: str, state: State = State.SELECTED) -> BadCommand:
    with pytest.raises(BadCommand) as error:
        parse(text, state=state)
    return error.value


def test_login_takes_atoms_strings_and_literals() -> None:
    before = State.NOT_AUTHENTICATED
    assert parse("LOGIN a b", state=before) == a.Login(b"t", "LOGIN", b"a", b"b")
    assert parse(r'login "a \"b\\" {3}' + "\r\n", b"x y", state=before) == a.Login(
        b"t", "LOGIN", b'a "b\\', b"x y"
    )
    # RFC 3501 §9 astring: "]" yes, "%" no.
    assert parse("LOGIN a] b", state=before) == a.Login(b"t", "LOGIN", b"a]", b"b")
    refused("LOGIN a% b", before)


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("1", ((1, 1),)),
        ("*", ((0, 0),)),
        ("1:*,3,7:5", ((1, 0), (3, 3), (7, 5))),
        ("4294967295", ((4294967295, 4294967295),)),
    ],
)
def test_sequence_sets(text: str, ranges: tuple[tuple[int, int], ...]) -> None:
    fetched = parse(f"FETCH {text} FLAGS")
    assert isinstance(fetched, a.Fetch)
    assert fetched.numbers == SequenceSet(ranges)


@pytest.mark.parametrize("text", ["0", "1:", ":1", "1,,2", "a", "1:2:3", "4294967296", "-1", "1,"])
def test_bad_sequence_sets(text: str) -> None:
    refused(f"FETCH {text} FLAGS")


def test_fetch_items() -> None:
    fetched = parse('UID FETCH 1 (FLAGS BODY.PEEK[1.2.HEADER.FIELDS (From "To")]<5.10> RFC822)')
    assert isinstance(fetched, a.Fetch)
    assert fetched.uid
    flags, body, whole = fetched.items
    assert flags == a.Item(b"FLAGS")
    assert body.section == a.Section(
        (1, 2), "HEADER.FIELDS", (b"From", b"To"), b"[1.2.HEADER.FIELDS (From To)]"
    )
    assert body.partial == (5, 10)
    assert not body.seen
    assert whole.seen
    assert [i.name for i in parse("FETCH 1 ALL").items] == [  # type: ignore[attr-defined]
        b"FLAGS",
        b"INTERNALDATE",
        b"RFC822.SIZE",
        b"ENVELOPE",
    ]
    assert len(parse("FETCH 1 full").items) == 5  # type: ignore[attr-defined]
    # BODY alone is the structure; asked for twice is asked for once.
    assert parse("FETCH 1 (BODY BODY UID)").items == (a.Item(b"BODY"), a.Item(b"UID"))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "text",
    [
        "BODY[MIME]", "BODY[0]", "BODY[1.]", "BODY[1", "BODY[HEADER.FIELDS]", "BODY[X]",
        "BODY[HEADER.FIELDS ()]", "BODY[]<1>", "BODY[]<1.0>", "BODY[]<a.b>", "()", "(FLAGS",
        "FLAGS)", "(FLAGS  UID)", "NOSUCH", "(ALL)", "BODY[HEADER.FIELDS (a:b)]", "",
    ],
)  # fmt: skip
def test_bad_fetch_items(text: str) -> None:
    refused(f"FETCH 1 {text}")


def test_store() -> None:
    stored = parse(r"UID STORE 1 -FLAGS.SILENT (\Seen $Queued)")
    assert isinstance(stored, a.StoreFlags)
    assert (stored.mode, stored.silent) == ("remove", True)
    assert stored.flags == a.Flags(frozenset({"seen"}), frozenset({"$Queued"}))
    assert parse(r"STORE 1 FLAGS \Seen Work").flags == a.Flags(  # type: ignore[attr-defined]
        frozenset({"seen"}), frozenset({"Work"})
    )
    assert parse("STORE 1 FLAGS ()").flags == a.Flags()  # type: ignore[attr-defined]
    for bad in (r"\Recent", r"\Nosuch", "(a", "a)", "(a b", '"a"', ""):
        refused(f"STORE 1 FLAGS {bad}")
    refused("STORE 1 +FLAGS.LOUD (a)")
    refused("STORE 1 *FLAGS (a)")


def test_search() -> None:
    searched = parse('UID SEARCH RETURN (MIN COUNT) CHARSET UTF-8 OR NOT SEEN (1:3 FROM "ñ") ALL')
    assert isinstance(searched, a.Search)
    assert searched.wanted == {"MIN", "COUNT"}
    assert searched.key == a.And(
        (
            a.Or(
                a.Not(a.HasFlag("seen", False, True)),
                a.And((a.Sequence(SequenceSet(((1, 3),)), False), a.Header(b"from", "ñ"))),
            ),
            a.All(),
        )
    )
    assert parse("SEARCH SENTON 1-Jan-1970").key == a.Date(0, True, "=")  # type: ignore[attr-defined]
    assert parse('SEARCH BEFORE "2-feb-1970"').key == a.Date(32, False, "<")  # type: ignore[attr-defined]
    error = refused("SEARCH CHARSET KOI8-R TEXT a")
    assert error.no
    assert error.code.startswith("BADCHARSET")


@pytest.mark.parametrize(
    "text",
    [
        "", "NOSUCH", "OR SEEN", "NOT", "FROM", "(SEEN", "SEEN)", "()", "ON 31-Feb-2020",
        "ON 1-Foo-2020", "LARGER x", "LARGER 4294967296", "HEADER x", "KEYWORD \\Seen",
        "RETURN (NOSUCH) ALL", "CHARSET US-ASCII TEXT \"ñ\"",
    ],
)  # fmt: skip
def test_bad_searches(text: str) -> None:
    refused(f"SEARCH {text}")


def test_search_is_bounded() -> None:
    deep = "(" * limits.SEARCH_DEPTH_MAX + "ALL" + ")" * limits.SEARCH_DEPTH_MAX
    parse(f"SEARCH {deep}")
    assert refused(f"SEARCH ({deep})").code == "LIMIT"
    assert refused("SEARCH " + "NOT " * 20_000 + "ALL").code == "LIMIT"
    assert refused("SEARCH " + "SEEN " * (limits.SEARCH_KEYS_MAX + 1)).code == "LIMIT"
    assert refused("FETCH " + "1," * limits.SEQUENCE_RANGES_MAX + "1 FLAGS").code == "LIMIT"


def test_names() -> None:
    assert parse("SELECT inbox") == a.Select(b"t", "SELECT", "INBOX", False)
    assert parse("EXAMINE Inbox/a") == a.Select(b"t", "EXAMINE", "INBOX/a", True)
    assert parse("CREATE Se&APE-ales (USE (\\Sent))") == a.Create(b"t", "CREATE", "Señales", "sent")
    assert refused("SELECT a&b").code == "CANNOT"
    assert refused(f"SELECT {'a' * 2000}").code == "LIMIT"
    listed = parse('LIST "" %/*')
    assert isinstance(listed, a.ListMailboxes)
    assert (listed.reference, listed.pattern) == ("", "%/*")
    assert refused('LIST "" ' + "%a" * 50).code == "LIMIT"


@pytest.mark.parametrize("name", sorted(TABLE))
def test_each_command_knows_its_states(name: str) -> None:
    """In a state where it is not allowed, before anything else is looked at."""
    for state in State:
        if state not in TABLE[name].states:
            assert "state" in str(refused(name, state))


@pytest.mark.parametrize(
    "line", ["NOOP x", "NOOP\x00", "UID NOOP", "UID", "", "N0OP", "LOGIN", "STATUS a ()", "ENABLE"]
)
def test_other_nonsense(line: str) -> None:
    refused(line)


WORDS = [
    "FETCH", "UID", "SEARCH", "STORE", "(", ")", "[", "]", "BODY[", "1", "1:*", "*", ",", "<", ">",
    "{3}\r\n", "{3", '"', '"a"', "\\Seen", "FLAGS", "NOT", "OR", "RETURN", "CHARSET", "HEADER",
    ".", "HEADER.FIELDS", "APPEND", "LIST", "\x00", "\r", "\n", "é", "&", "%", "~", "+", "NIL",
    "STATUS", "LOGIN", "ID", "1-Jan-2020", "AUTHENTICATE", "=",
]  # fmt: skip


def words_of(line: str, state: State) -> str:
    """What is answered, "" for a command that is understood."""
    try:
        command(b"t " + line.encode(), [b"abc"] * line.count("{3}\r\n"), state)
    except BadCommand as error:
        return str(error)
    return ""


@settings(max_examples=600)
@given(st.lists(st.sampled_from(WORDS), max_size=30), st.sampled_from(["", " "]))
def test_whatever_comes_is_read_or_refused(words: list[str], between: str) -> None:
    for state in State:
        answer = words_of(between.join(words), state)
        assert answer.isascii()
        assert "\r" not in answer
        assert "\n" not in answer
