"""One clamd for all tests that leave it as it is; tests that break one start their own."""

from collections.abc import Iterator

import pytest

from tests.servers.clamd import Clamd, running_clamd


@pytest.fixture(scope="session")
def clamd() -> Iterator[Clamd]:
    with running_clamd() as server:
        yield server
