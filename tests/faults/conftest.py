"""A real clamd for the stands of one test process."""

from collections.abc import Iterator

import pytest

from tests.servers.clamd import Clamd, running_clamd


@pytest.fixture(scope="session")
def shared_clamd() -> Iterator[Clamd]:
    """Do not stop it: others use it, too."""
    with running_clamd() as clamd:
        yield clamd
