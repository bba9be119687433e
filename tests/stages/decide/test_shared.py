"""Rules whose answer recipients share are asked once for a message, and say the same as if each had been asked."""

from dataclasses import replace

import pytest
from hypothesis import given, settings

from relay.decide import decide
from relay.model.case import Case
from relay.policy.asked import HEADER_OF_MESSAGE, OF_MESSAGE, asks_of_recipient
from relay.policy.conditions import Condition, HeaderCondition
from relay.policy.models import Policy
from tests.properties.test_decide_order import CASES, POLICIES
from tests.stages.decide.cases import EPOCH, TODAY, condition


@settings(max_examples=150)
@given(POLICIES, CASES)
def test_recipients_together_are_decided_as_each_would_be_alone(policy: Policy, about: Case) -> None:
    together = decide(about, policy, EPOCH, TODAY).verdicts
    total = max(about.recipients_total, len(about.recipients))
    alone = [
        decide(replace(about, recipients=(one,), recipients_total=total), policy, EPOCH, TODAY).verdicts[0] for one in about.recipients
    ]
    assert list(together) == alone


@pytest.mark.parametrize(
    ("when", "differs"),
    [
        ({"sender": ["example.nl"], "larger_than": 3}, False),
        ({"if_": "message.size > 3"}, False),
        ({"direction": ["outbound"]}, False),
        ({"recipient": ["example.nl"]}, True),
        ({"any": [{"not": {"partner": ["court"]}}]}, True),
        ({"group": ["press"]}, True),
        ({"first_time_recipient": True}, True),
        ({"header": {"delivered_before": False}}, True),
        ({"if_": "recipient == 'a'"}, True),
    ],
)
def test_what_may_differ_between_recipients_is_known(when: dict[str, object], differs: bool) -> None:
    assert asks_of_recipient(condition(**when)) is differs


def test_a_key_that_nobody_knows_of_is_asked_for_each_recipient() -> None:
    class Later(Condition):
        mood: str | None = None

    assert asks_of_recipient(Later(mood="good"))
    assert not asks_of_recipient(Later(tls=True))
    assert set(Condition.model_fields) > OF_MESSAGE
    assert set(HeaderCondition.model_fields) > HEADER_OF_MESSAGE
