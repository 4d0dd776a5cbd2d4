"""Lines of one turn of the loop go out together, in order, and none is lost at the end."""

from __future__ import annotations

import asyncio
import io

from estafeta.office.log_lines import Lines


class Counted(io.StringIO):
    """Counts what a system call each would be."""

    calls = 0

    def flush(self) -> None:
        self.calls += 1


class Broken(io.StringIO):
    def write(self, _: str) -> int:
        raise OSError(28, "No space left on device")


def test_lines_of_one_turn_are_one_call() -> None:
    to = Counted()
    lines = Lines(to)

    async def main() -> None:
        for n in range(5):
            lines.line(f"line {n}")
        assert to.getvalue() == ""
        await asyncio.sleep(0)
        assert to.getvalue() == "".join(f"line {n}\n" for n in range(5))
        assert to.calls == 1
        lines.line("waits")
        lines.write("at once\n")
        assert to.getvalue().endswith("waits\nat once\n")

    asyncio.run(main())


def test_without_a_loop_a_line_goes_out_at_once() -> None:
    to = Counted()
    Lines(to).line("now")
    assert to.getvalue() == "now\n"


def test_the_last_turn_is_not_lost() -> None:
    to = Counted()
    lines = Lines(to)

    async def main() -> None:
        lines.line("last")

    asyncio.run(main())
    lines.flush()  # as atexit does
    assert to.getvalue() == "last\n"


def test_a_log_that_cannot_be_written_stops_nobody() -> None:
    Lines(Broken()).line("lost")
    closed = io.StringIO()
    closed.close()
    Lines(closed).line("lost")
