"""A body too large for memory is inspected from its spool object before that is sealed. Once each of them was called damaged."""

import asyncio
from pathlib import Path

import pytest

from relay.app.app import WORKER
from relay.inspect.pool import InspectJob, InspectPool
from relay.model.features import Inspection
from relay.settings.models import Inspection as InspectionSettings
from relay.settings.models import Settings
from tests.servers.recording import Recording

SIZE = 3 * 1024 * 1024


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize("sealed", [False, True])
def test_a_large_message_is_read_to_its_last_octet(recording: Recording, tmp_path: Path, sealed: bool) -> None:
    """Unsealed when it comes in, sealed when it is looked at again."""
    content = b"From: jan@example.nl\r\nSubject: groot\r\n\r\n" + b"0123456789abcdef" * (SIZE // 16) + b"\xe9\r\n"
    body = recording.decided(content=content).inspected.received.body
    assert body.bytes is None
    if sealed:
        asyncio.run(recording.spool.seal(body, {}))

    async def story() -> Inspection:
        pool = InspectPool(Settings(hostname="relay.example.nl", inspection=InspectionSettings(workers=1)), WORKER)
        try:
            await pool.start()
            path = recording.spool.path(body.object)
            return await pool.inspect(InspectJob(body.object, body.size, "relay.example.nl", path=path, key=body.key))
        finally:
            await pool.close()

    found = asyncio.run(story())
    assert found.header.subject == "groot"
    assert found.eight_bit, "the one octet above 127 is at the very end"
    assert "spool-damaged" not in {finding.name for finding in found.findings}
