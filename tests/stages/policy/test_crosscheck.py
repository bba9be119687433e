"""What no single entry can know: names that nothing defines, waivers that waive nothing, clients that nobody can be."""

import pytest

from relay.policy.load import build
from tests.stages.policy.texts import CLIENTS, FILES, ORGANISATION, ROUTES, problems, problems_of

RULE = "rules:\n  - name: x\n    because: x\n    then: {then}\n    when: {when}\n"
WAIVER = """\
waivers:
  - name: for-the-court
    rules: [{rules}]
    owner: somebody
    reason: because
    until: 2030-01-31
"""


def rule(when: str, then: str = "hold") -> list[str]:
    return problems(rules__x=RULE.format(then=then, when=when))


@pytest.mark.parametrize(
    ("when", "what"),
    [
        ("{partner: [cort]}", "no partner is named 'cort' (did you mean 'court'?)"),
        ("{client: [exchang]}", "no client is named 'exchang' (did you mean 'exchange'?)"),
        ("{phase: [opn]}", "no phase is named 'opn' (did you mean 'open'?)"),
        ("{any: [{not: {phase: [night]}}]}", "no phase is named 'night'"),
        ("{larger_than: 10, smaller_than: 11}", "nothing is larger than 10 and smaller than 11"),
        ("{attachment: {larger_than: 10, smaller_than: 5}}", "nothing is larger than 10 and smaller than 5"),
        ("{sender: []}", "'sender' is an empty list: name something, or leave the key out"),
        ("{all: []}", "'all' is an empty list: name something, or leave the key out"),
        ("{attachment: {names: []}}", "'names' is an empty list: name something, or leave the key out"),
    ],
)
def test_a_condition_that_can_not_be_meant_is_refused(when: str, what: str) -> None:
    assert rule(when) == [f"policies/rules/x.yaml:5: {what}"]


def test_mail_of_sluis_itself_can_be_named_in_a_condition() -> None:
    assert build(FILES | {"rules/x.yaml": RULE.format(then="hold", when="{client: [sluis]}")})


@pytest.mark.parametrize("name", ["malware", "brake", "no-rule", "header", "undecidable-encrypted"])
def test_the_name_of_a_built_in_rule_is_taken(name: str) -> None:
    rules = f"rules:\n  - name: {name}\n    then: hold\n    because: x\n"

    assert problems(rules__x=rules) == [f"policies/rules/x.yaml:2: the rule '{name}' is built in; choose another name"]


def test_a_route_that_is_not_there_is_named() -> None:
    rules = "rules:\n  - name: x\n    then: deliver\n    because: x\n    route: uot\n"

    assert problems(rules__x=rules) == ["policies/rules/x.yaml:5: no route is named 'uot' (did you mean 'out'?)"]


def test_a_route_goes_with_deliver_only() -> None:
    rules = "rules:\n  - name: x\n    then: hold\n    because: x\n    route: out\n"

    assert problems(rules__x=rules) == ["policies/rules/x.yaml:5: 'route' goes with 'then: deliver' only"]


@pytest.mark.parametrize("name", ["dangerous", "malware", "brake", "no-rule"])
def test_no_waiver_takes_a_final_rule_away(name: str) -> None:
    assert problems(waivers__w=WAIVER.format(rules=name)) == [
        f"policies/waivers/w.yaml:3: the rule '{name}' is final: no waiver can take it away"
    ]


def test_a_waiver_of_a_rule_that_delivers_waives_nothing() -> None:
    assert problems(waivers__w=WAIVER.format(rules="pass")) == [
        "policies/waivers/w.yaml:3: the rule 'pass' says deliver: there is nothing to waive"
    ]


def test_a_waiver_of_a_rule_that_is_not_there_is_refused() -> None:
    assert problems(waivers__w=WAIVER.format(rules="macros")) == [
        "policies/waivers/w.yaml:3: no rule is named 'macros' (did you mean 'macro'?)"
    ]


@pytest.mark.parametrize("name", ["undecidable-encrypted", "undecidable-limit", "header"])
def test_a_built_in_rule_that_is_not_final_can_be_waived(name: str) -> None:
    assert build(FILES | {"waivers/w.yaml": WAIVER.format(rules=name)}).waivers


@pytest.mark.parametrize("key", ["owner", "reason", "until", "rules"])
def test_a_waiver_has_owner_reason_end_and_rules(key: str) -> None:
    lines = [line for line in WAIVER.format(rules="macro").splitlines() if not line.strip().startswith(f"{key}:")]

    assert problems(waivers__w="\n".join(lines)) == [f"policies/waivers/w.yaml:2: the key '{key}' is missing"]


def test_a_client_that_nobody_can_be_is_refused() -> None:
    clients = "clients:\n  - name: nobody\n    side: inside\n"

    assert problems(clients=clients) == [
        "policies/clients.yaml:2: the client 'nobody' has no address, certificate or login, so nobody can be it"
    ]


@pytest.mark.parametrize(("key", "value"), [("addresses", "192.0.2.0/28"), ("logins", "desk"), ("certificates", "mail.example.nl")])
def test_two_clients_on_one_side_can_not_have_the_same_identity(key: str, value: str) -> None:
    entry = "  - name: {name}\n    side: {side}\n    {key}: [{value}]\n"
    one = entry.format(name="one", side="inside", key=key, value=value)
    clients = "clients:\n" + one + entry.format(name="two", side="inside", key=key, value=value)

    assert problems(clients=clients) == [f"policies/clients.yaml:5: {value} names the client 'one' too; one of them must go"]
    assert build(FILES | {"clients.yaml": "clients:\n" + one + entry.format(name="two", side="outside", key=key, value=value)})


@pytest.mark.parametrize("name", ["sluis", "gone"])
def test_the_names_of_our_own_clients_are_taken(name: str) -> None:
    clients = f"clients:\n  - name: {name}\n    side: inside\n    logins: [x]\n"

    assert problems(clients=clients) == [f"policies/clients.yaml:2: the client name '{name}' is taken by Sluis itself"]


def test_a_client_outside_does_not_forward() -> None:
    clients = "clients:\n  - name: world\n    side: outside\n    addresses: [0.0.0.0/0]\n    forwards: true\n"

    assert problems(clients=clients)[0].startswith("policies/clients.yaml:2: only a client inside can forward")


def test_an_ipv4_range_written_as_ipv6_would_never_match() -> None:
    clients = 'clients:\n  - name: x\n    side: inside\n    addresses: ["::ffff:192.0.2.0/124"]\n'

    assert problems(clients=clients) == [
        "policies/clients.yaml:2: ::ffff:c000:200/124 never matches; an IPv4 client is written as '192.0.2.0/28'"
    ]


def test_a_sender_entry_names_a_login_that_exists() -> None:
    senders = "senders:\n  - login: dest\n    may_send_as: [press@example.nl]\n"

    assert problems(senders=senders) == ["policies/senders.yaml:2: no client has the login 'dest' (did you mean 'desk'?)"]


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ("check: list", ["'check: list' needs the key 'file'"]),
        ("check: probe", ["'check: probe' needs the key 'route'"]),
        ("{check: list, file: lists/our.txt}", ["the list file 'lists/our.txt' is not in policies/lists (did you mean 'lists/ours.txt'?)"]),
        ("{check: probe, route: inn}", ["no route is named 'inn'"]),
        ("{check: probe, route: out, file: lists/ours.txt}", ["'check: probe' does not look at the key 'file'"]),
    ],
)
def test_recipients_are_checked_with_what_is_there(entry: str, found: list[str]) -> None:
    entry = entry.strip("{}").replace(", ", "\n    ")
    recipients = f"recipients:\n  - domains: [example.nl]\n    {entry}\n"

    assert problems_of(FILES | {"recipients.yaml": recipients, "lists/ours.txt": "jan@example.nl\n"}) == [
        f"policies/recipients.yaml:2: {what}" for what in found
    ]


def test_lmtp_needs_a_host() -> None:
    assert problems(routes=ROUTES + "    lmtp: true\n") == [
        "policies/routes.yaml:2: LMTP is never looked up by MX: name a smart_host (RFC 2033 §1)"
    ]


@pytest.mark.parametrize("host", ["mail.example.nl", "mail.example.nl:0", "mail.example.nl:70000", "2001:db8::1:25", "a b:25"])
def test_a_smart_host_is_a_host_and_a_port(host: str) -> None:
    assert problems(routes=ROUTES + f'    smart_host: "{host}"\n') == [
        f"policies/routes.yaml:4: routes.0.smart_host: '{host}' is not host:port or [address]:port"
    ]


def test_one_selector_signs_once() -> None:
    key = "      - selector: s1\n        algorithm: rsa-sha256\n"

    assert problems(signing="signing:\n  - domain: example.nl\n    keys:\n" + key + key) == [
        "policies/signing.yaml:2: the selector 's1' stands here twice"
    ]


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("[example.nl, .example.nl]", '["*"]', "'*' is no domain of the organisation: write 'b.nl' or '.b.nl'"),
        ("[example.nl, .example.nl]", '["a@example.nl"]', "'a@example.nl' is no domain of the organisation: write 'b.nl' or '.b.nl'"),
        ("[closed, open]", "[closed, open, closed]", "the phase 'closed' stands here twice"),
        ("postmaster@example.nl", "example.nl", "the postmaster 'example.nl' is no address"),
    ],
)
def test_the_organisation_is_whole(old: str, new: str, what: str) -> None:
    assert problems(organisation=ORGANISATION.replace(old, new)) == [f"policies/organisation.yaml:1: {what}"]


def test_one_partner_stands_once() -> None:
    again = ORGANISATION + "  - name: court\n    domains: [other.example]\n"

    assert problems(organisation=again) == ["policies/organisation.yaml:1: the partner 'court' stands here twice"]


def test_only_inspectors_that_exist_can_be_required() -> None:
    assert "(did you mean 'clamd'?)" in problems(inspection="outbound: [clam]\n")[0]


def test_the_small_policy_of_these_tests_is_right() -> None:
    assert build(FILES | {"clients.yaml": CLIENTS}).clients[0].logins == ("desk",)
