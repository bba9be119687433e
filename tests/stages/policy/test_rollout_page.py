"""The tutorial in docs/policy.md is a policy that loads, passes its tests, and leaves no rule untested."""

import asyncio

from relay.policy.content import Content
from relay.policy.load import build
from relay.policy.reference_rollout import FIRST, section
from relay.rehearsal.tested import run_tests
from relay.settings.models import Settings

NOW_US = 1_795_000_000_000_000


def test_the_first_policy_of_the_tutorial_loads_and_passes_its_tests() -> None:
    files = {name: text for name, text in FIRST.items() if not name.startswith("tests/")}
    content = Content(files, {name: text.encode() for name, text in FIRST.items() if name.startswith("tests/")})

    ran = asyncio.run(run_tests(content, build(files), Settings(hostname="relay.example.org"), NOW_US))

    assert (ran.failures, ran.passed, ran.not_reached) == ((), 3, ())


def test_every_file_of_the_tutorial_stands_on_the_page() -> None:
    page = section()

    assert "@" + next(iter(FIRST)) not in page
    for text in FIRST.values():
        assert all(f"    {line}" in page for line in text.splitlines() if line)
