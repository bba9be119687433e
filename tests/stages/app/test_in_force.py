"""A change of the epoch that could not be carried through is carried through later."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from relay.app.in_force import InForce
from relay.model.errors import StoreError
from relay.model.ports import SystemClock
from relay.phases import state as phase_state
from relay.settings.models import Settings
from tests.servers.recording import Recording


def test_what_the_store_refused_is_tried_again_at_the_next_refresh(recording: Recording, tmp_path: Path) -> None:
    async def story() -> None:
        settings = Settings(hostname="relay.example.nl", policies=Path(__file__).parents[3] / "policies")
        in_force = InForce(settings, recording.journal, recording.reader, cast(Any, SystemClock()))
        await in_force.put(in_force.read())
        tries: list[bool] = []

        async def bring_back() -> None:
            tries.append(True)
            if len(tries) == 1:
                raise StoreError("away for a moment")

        in_force.on_change = bring_back
        await recording.journal.submit(lambda connection: phase_state.set_phase(connection, "open", 0))
        with pytest.raises(StoreError):
            await in_force.refresh()
        await in_force.refresh()
        await in_force.refresh()
        assert len(tries) == 2, "again after the failure, and not once more"

    asyncio.run(story())
