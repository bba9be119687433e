"""Explaining a message of the record: under the policy that decided it, also when another one is in force."""

import asyncio
from pathlib import Path

import pytest

from relay.settings.models import Store
from tests.servers.sink import Sink
from tests.stories.house import CLERK, PASS, house, message

BEFORE = (
    PASS
    + """\
  - name: hearings
    when: {subject_contains: [hearing]}
    then: quarantine
    because: the reason of then
"""
)
AFTER = PASS.replace("ordinary mail", "ordinary mail of now") + "  - {name: other, then: hold, because: the reason of now}\n"


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_message_is_explained_under_the_policy_that_decided_it(tmp_path: Path, database: Store) -> None:
    async def story() -> None:
        async with Sink() as sink, house(tmp_path, database, outside=sink.port, policy={"rules/pass.yaml": BEFORE}) as sluis:
            reply = await sluis.send(message(), to=[CLERK])
            [row] = await sluis.until_states(reply, "quarantined")
            ask = ("policy", "explain", reply.id.hex, "--reason", "the clerk asks", "--json")
            first = (await sluis.sluis(*ask)).json

            sluis.write_policy({"rules/pass.yaml": AFTER})
            await sluis.reload()
            later = await sluis.send(message(), to=[CLERK])
            [other] = await sluis.until_states(later, "held")
            assert other.policy != row.policy, "another policy is in force"

            again = (await sluis.sluis(*ask)).json
            assert again["recipients"] == first["recipients"]
            [told] = again["recipients"]
            assert (told["disposition"], told["because"]) == ("quarantine", "the reason of then")
            assert {rule["rule"] for rule in told["rules"]} == {"pass", "hearings"}
            assert (told["policy"], told["as_recorded"]) == (row.policy, True)

    asyncio.run(story())
