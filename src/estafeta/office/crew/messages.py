"""Messages between the supervisor and its workers, and how they travel: length, then JSON.

They steer processes; nothing of the mail passes here. What is true of it is in the store.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from estafeta.office.config import Config
from estafeta.office.limits import CREW_MESSAGE_OCTETS_MAX

Topic = Literal["metrics", "health"]


class Sample(msgspec.Struct, frozen=True):
    """One line of a metrics page."""

    name: str
    labels: dict[str, str]
    value: float


class Family(msgspec.Struct, frozen=True):
    """One metric with its samples, as one worker has it."""

    name: str
    kind: str
    help: str
    samples: list[Sample]


class Reply(msgspec.Struct, frozen=True):
    """What one worker answers. health: "" or what is not well, by the name of the check."""

    metrics: list[Family] = []
    health: dict[str, str] = {}


# -- from the supervisor -------------------------------------------------------------------------


class Reload(msgspec.Struct, frozen=True, tag=True):
    """The settings from now on; they have been read and found good."""

    config: Config


class Stop(msgspec.Struct, frozen=True, tag=True):
    at_once: bool


class Bury(msgspec.Struct, frozen=True, tag=True):
    """These workers are dead: give back what they held."""

    lives: list[int]


class Gathered(msgspec.Struct, frozen=True, tag=True):
    """The answer to an `Ask`. replies: by worker. silent: those that did not answer.

    besides: counted by workers that are dead, and by the supervisor.
    """

    id: int
    replies: dict[int, Reply]
    silent: list[int]
    besides: list[Family]


# -- from a worker -------------------------------------------------------------------------------


class Ready(msgspec.Struct, frozen=True, tag=True):
    """Every door is open."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """It cannot start; text: one sentence that says why."""

    text: str


class Reloaded(msgspec.Struct, frozen=True, tag=True):
    """reason: "" or why it kept the settings it had."""

    reason: str = ""


class Buried(msgspec.Struct, frozen=True, tag=True):
    lives: list[int]


# -- both ways -----------------------------------------------------------------------------------


class Ask(msgspec.Struct, frozen=True, tag=True):
    """From a worker: gather this from all. From the supervisor: answer this."""

    id: int
    topic: Topic


class Answer(msgspec.Struct, frozen=True, tag=True):
    id: int
    reply: Reply


FromSupervisor = Reload | Stop | Bury | Gathered | Ask
FromWorker = Ready | Failed | Reloaded | Buried | Ask | Answer
Message = FromSupervisor | FromWorker

_DECODER: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
_LENGTH_OCTETS = 4


def encode(message: Message) -> bytes:
    data = msgspec.json.encode(message)
    return len(data).to_bytes(_LENGTH_OCTETS) + data


class Decoder:
    """From octets as they come to whole messages."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Raises ValueError for what is no message."""
        waiting = self._waiting
        waiting += data
        while len(waiting) >= _LENGTH_OCTETS:
            length = int.from_bytes(waiting[:_LENGTH_OCTETS])
            if length > CREW_MESSAGE_OCTETS_MAX:
                raise ValueError(f"a message of {length} octets")
            end = _LENGTH_OCTETS + length
            if len(waiting) < end:
                return
            message = _DECODER.decode(waiting[_LENGTH_OCTETS:end])
            del waiting[:end]
            yield message
