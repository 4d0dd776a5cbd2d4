"""A database that a test is given is as new, whoever had it before."""

from __future__ import annotations

import psycopg
import pytest
from tests.support.peers import postgres


def rows(url: str) -> dict[str, list[tuple[object, ...]]]:
    with psycopg.connect(url) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {
            name: connection.execute(f'SELECT * FROM "{name}"'.encode()).fetchall()
            for (name,) in names.fetchall()
        }


def name_of(url: str) -> str:
    return psycopg.conninfo.conninfo_to_dict(url)["dbname"]


def test_rows_are_gone_and_those_of_the_schema_are_back() -> None:
    with postgres.database() as url, psycopg.connect(url, autocommit=True) as left:
        before = rows(url)
        left.execute("INSERT INTO counter VALUES ('x', 1)")
        left.execute("INSERT INTO domain (name, created) VALUES ('a.example', 1)")
        left.execute("DELETE FROM migration WHERE number > 1")
        left.execute("UPDATE counter SET value = 7 WHERE name = 'uidvalidity'")
        left.execute("BEGIN")
        left.execute("LOCK TABLE account")
    with postgres.database() as again:
        assert name_of(again) == name_of(url)
        assert rows(again) == before
        assert before["migration"]


def test_two_at_once_are_two() -> None:
    with postgres.database() as one, postgres.database() as other:
        assert name_of(one) != name_of(other)


@pytest.mark.parametrize(
    "change",
    [
        "CREATE INDEX one_more ON counter (value)",
        "ALTER TABLE counter ADD COLUMN more INTEGER",
        "DROP TABLE migration",
        "CREATE TABLE more (n INTEGER)",
        "CREATE SCHEMA other",
        "CREATE FUNCTION one() RETURNS INTEGER LANGUAGE sql AS 'SELECT 1'",
        'ALTER DATABASE "{name}" SET statement_timeout = 5',
        "ANALYZE",
        "INSERT INTO counter SELECT 'c' || n, n FROM generate_series(1, 3000) AS n",
    ],
)
def test_what_cannot_be_made_as_new_goes(change: str) -> None:
    with postgres.database() as url, psycopg.connect(url, autocommit=True) as admin:
        admin.execute(change.format(name=name_of(url)).encode())
    with postgres.database() as again:
        assert name_of(again) != name_of(url)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)
