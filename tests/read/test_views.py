"""Two to four sessions do what they like; each must be able to number its messages by what it was
told. The model knows nothing of modseqs: it is what a client does with EXISTS, EXPUNGE and FETCH.
"""

from __future__ import annotations

import asyncio
import random
import re
from pathlib import Path

import pytest
from tests.read.rig import Client, House, house, message

_FETCH = re.compile(rb"\* (\d+) FETCH \((?:UID (\d+) )?FLAGS \(([^)]*)\)")


class Model:
    """One client. uids: by number, None where it has not asked yet. flags: as last told."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.uids: list[int | None] = []
        self.flags: list[frozenset[bytes] | None] = []

    def hear(self, lines: list[bytes], *, expunge: bool) -> None:
        for line in lines:
            words = line.split(b" ")
            if words[2:3] == [b"EXPUNGE"]:
                assert expunge, "numbers changed while they were in use"
                del self.uids[int(words[1]) - 1]
                del self.flags[int(words[1]) - 1]
            elif words[2:3] == [b"EXISTS"]:
                count = int(words[1])
                assert count >= len(self.uids), "messages vanished without a word"
                self.uids += [None] * (count - len(self.uids))
                self.flags += [None] * (count - len(self.flags))
            elif match := _FETCH.match(line):
                at = int(match.group(1)) - 1
                if match.group(2):
                    uid = int(match.group(2))
                    assert self.uids[at] in (None, uid), f"number {at + 1} is another message"
                    self.uids[at] = uid
                told = frozenset(match.group(3).lower().split()) - {b"\\recent"}
                self.flags[at] = told

    async def say(self, text: str, *, expunge: bool, literal: bytes | None = None) -> bytes:
        lines = await self.client.command(text, literal)
        self.hear(lines, expunge=expunge)
        return lines[-1]


async def step(dice: random.Random, model: Model) -> None:
    count = len(model.uids)
    some = f"{dice.randint(1, count)}:{dice.randint(1, count)}" if count else ""
    flag = dice.choice([r"\Seen", r"\Deleted", r"\Flagged", "word"])
    silent = dice.choice(["", ".SILENT"])
    sign = dice.choice("+-") if flag != r"\Deleted" or dice.random() < 0.3 else "+"
    action = dice.randrange(11)
    if action == 0 or count < 3:
        await model.say("APPEND INBOX", expunge=True, literal=message(1))
    elif action == 1:
        await model.say("NOOP", expunge=True)
    elif action == 2:
        await model.say("EXPUNGE", expunge=True)
    elif action == 3:
        await model.say(f"FETCH {some} (UID FLAGS)", expunge=False)
    elif action in (4, 5):
        await model.say(f"STORE {some} {sign}FLAGS{silent} ({flag})", expunge=False)
        if silent:
            # What is not told back is the client's to know; it asks.
            await model.say(f"FETCH {some} (UID FLAGS)", expunge=False)
    elif action == 6:
        await model.say(f"SEARCH {flag.strip(chr(92)) if flag != 'word' else 'ALL'}", expunge=False)
    elif action == 7:
        await model.say("UID FETCH 1:* (FLAGS)", expunge=True)
    elif action == 8:
        await model.say(f"COPY {some} INBOX", expunge=True)
    elif action == 9:
        await model.say(f"MOVE {dice.randint(1, count)} INBOX", expunge=True)
    else:
        # A new view of the same mailbox.
        model.uids, model.flags = [], []
        await model.say("SELECT INBOX", expunge=True)
        await model.say("UID FETCH 1:* (FLAGS)", expunge=True)


async def compare(models: list[Model]) -> None:
    """All say NOOP; then all know the same, and what they know is so."""
    for model in models:
        await model.say("NOOP", expunge=True)
    for model in models:
        known_uids, known_flags = list(model.uids), list(model.flags)
        await model.say("FETCH 1:* (UID FLAGS)", expunge=False)
        assert len(known_uids) == len(model.uids)
        for n, (knew, flags) in enumerate(zip(known_uids, known_flags, strict=True)):
            assert knew in (None, model.uids[n])
            assert flags in (None, model.flags[n]), f"a change of message {n + 1} was not told"
    first = models[0]
    for model in models[1:]:
        assert model.uids == first.uids
        assert model.flags == first.flags
    assert first.uids == sorted(first.uids, key=lambda uid: uid or 0)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_what_clients_know_is_so(seed: int, together: bool, tmp_path: Path) -> None:
    """together: all at once, so that snapshots and changes of several are under way."""
    dice = random.Random(seed)
    print("seed", seed)

    async def many(model: Model, own: random.Random) -> None:
        for _ in range(10):
            await step(own, model)

    async def work(h: House) -> None:
        models = []
        for _ in range(dice.randint(2, 4)):
            model = Model(await h.imap_client())
            await model.say("SELECT INBOX", expunge=True)
            models.append(model)
        for _ in range(5):
            if together:
                own = [random.Random(dice.random()) for _ in models]
                await asyncio.gather(*map(many, models, own))
            else:
                for _ in range(20):
                    await step(dice, dice.choice(models))
            await compare(models)

    async def run() -> None:
        async with house(tmp_path) as h:
            await work(h)

    asyncio.run(run())
