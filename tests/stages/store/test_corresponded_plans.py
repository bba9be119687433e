"""To ask who wrote to whom costs no more for the months that a store has: each statement is planned once, and looks at bounded rows."""

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, make_url, text

from relay.store import schema
from relay.store.corresponded import FUNCTION
from tests.servers.database import Database
from tests.servers.postgres import Cluster
from tests.stages.store.test_growth import MONTHS, SPREAD, fill, over_two_years

ASK = f"SELECT {FUNCTION}(%s, %s, 1000)"
OFTEN, ONCE, NEVER = "s1@ours.example", "r4777@d3.example", "r0@nowhere.example"
"""`OFTEN` sent half of all mail, some of it to `ONCE`; nobody wrote to `NEVER`."""


@pytest.fixture
def asking(new_database: Database, owner: Engine, cluster: Cluster) -> Iterator[Any]:
    """A connection to a store of two years that tells the plans of what a function runs; only a superuser may (auto_explain)."""
    with owner.begin() as connection:
        schema.make_partitions(connection, MONTHS)
    fill(owner, SPREAD, over_two_years)
    with owner.begin() as connection:
        connection.execute(text("UPDATE delivery SET state = 'delivered' WHERE state = 'held'"))
        connection.execute(text("ANALYZE"))
    host = str(cluster.sockets)
    name = make_url(new_database.relay.url).database
    with closing(psycopg.connect(host=host, port=cluster.port, user=cluster.superuser, dbname=name, autocommit=True)) as connection:
        connection.execute("LOAD 'auto_explain'")
        connection.execute("SET jit_above_cost = 0")  # as dear as in a store of millions
        for setting in ("log_min_duration = 0", "log_nested_statements = on", "log_analyze = on", "log_timing = off"):
            connection.execute(f"SET auto_explain.{setting}".encode())
        yield connection


def asked(connection: Any, sender: str, recipient: str) -> tuple[int | None, list[str]]:
    """The answer, and the plan of each statement that the function ran."""
    plans: list[str] = []

    def told(notice: Any) -> None:
        if "Query Text" in notice.message_primary and FUNCTION not in notice.message_primary:
            plans.append(notice.message_primary.partition("\n")[2])

    connection.add_notice_handler(told)
    connection.execute("SET client_min_messages = log")
    answer = connection.execute(ASK, (sender, recipient)).fetchone()[0]
    connection.execute("RESET client_min_messages")
    connection.remove_notice_handler(told)
    return answer, plans


CASES = {"known": (OFTEN, ONCE, 1), "a first time": ("s0@ours.example", ONCE, 0), "nobody before": (OFTEN, NEVER, 0)}


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_pair_is_looked_for_with_plans_that_are_kept_and_in_no_whole_month(asking: Any) -> None:
    for name, (sender, recipient, expected) in CASES.items():
        answer, plans = asked(asking, sender, recipient)
        assert answer == expected, name
        assert plans, "auto_explain tells nothing"
        for plan in plans:
            assert re.search(r"\$\d", plan), f"planned for these values, and again for the next: {plan}"
            assert "Seq Scan" not in plan, plan
            assert "Bitmap" not in plan, plan
            assert "JIT" not in plan, plan


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_only_what_has_an_answer_is_asked_and_of_the_months_that_may_have_one(asking: Any) -> None:
    _, plans = asked(asking, OFTEN, NEVER)
    assert len(plans) == 1, "mail to somebody who never got any is asked for in one statement"
    _, plans = asked(asking, OFTEN, ONCE)
    assert len(plans) == 2, "and where there is some, only that"
    months = re.findall(r"on message_(\d{4}_\d{2}|default)\b", plans[1])
    assert len(months) == 1, "by key, in the month that it lies in"
