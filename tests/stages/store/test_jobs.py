"""Work that one process does for all machines."""

import asyncio
from functools import partial

from relay.app.jobs import Jobs
from relay.store import jobs
from tests.servers.recording import SECOND, Recording


def take(recording: Recording, owner: str, job: str = "sweep") -> bool:
    now_us = recording.clock.now_us()
    return recording.write(partial(jobs.take, job=job, owner=owner, now_us=now_us, for_us=60 * SECOND))


def test_one_process_does_a_job_for_all(recording: Recording) -> None:
    assert [take(recording, owner) for owner in ("one", "two", "one", "two")] == [True, False, True, False]
    assert take(recording, "two", job="balance")


def test_who_is_gone_is_followed_by_another_when_its_time_is_over(recording: Recording) -> None:
    assert take(recording, "one")
    recording.clock.forward(61 * SECOND)
    assert take(recording, "two")
    assert not take(recording, "one"), "it stood still for a while, and has lost the job"


def test_where_there_is_one_process_everything_is_its_job(recording: Recording) -> None:
    assert take(recording, "before the restart")
    alone, beside = (Jobs(recording.journal, recording.clock, "now", alone=alone) for alone in (True, False))
    assert asyncio.run(alone.mine("sweep", 60)) is True
    assert asyncio.run(beside.mine("sweep", 60)) is False


def test_a_machine_whose_clock_is_wrong_has_no_job(recording: Recording) -> None:
    wrong = True
    two = [Jobs(recording.journal, recording.clock, "now", alone=alone, wrong=lambda: wrong) for alone in (True, False)]
    assert [asyncio.run(one.mine("sweep", 60)) for one in two] == [False, False]
    assert take(recording, "another"), "nothing was taken meanwhile"
    wrong = False
    assert asyncio.run(two[0].mine("sweep", 60))


def test_a_job_that_a_wrong_clock_took_for_years_is_taken_over(recording: Recording) -> None:
    year = 365 * 86_400 * SECOND
    recording.clock.forward(year)
    assert take(recording, "one")
    recording.clock.forward(-year)
    assert take(recording, "two")
    assert not take(recording, "one")
