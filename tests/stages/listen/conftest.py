"""Certificates and both event loops for the tests of listen."""

import pytest

from relay.settings.models import TlsFiles
from tests.servers.certificates import Authority, issue, make_ca
from tests.stages.listen.listening import HOSTNAME, LOOPS


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A CA that the clients know."""
    return make_ca(tmp_path_factory.mktemp("listen-ca"))


@pytest.fixture(scope="session")
def files(authority: Authority) -> TlsFiles:
    """The certificate of the door."""
    chain, key = issue(authority, [HOSTNAME])
    return TlsFiles(certificate=chain, key=key)


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    """The name of an event loop; a test that takes it runs under each."""
    return str(request.param)
