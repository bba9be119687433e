"""What holds of decide for any policy: adding a rule is never milder, adding a waiver never stricter, order means nothing, unknown never
passes, and what is refused at RCPT would have been refused after DATA."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from relay.decide import decide, decide_at_rcpt
from relay.model.case import Case
from relay.model.decision import Disposition, Epoch, Release, Verdict
from relay.model.envelope import Recipient
from relay.model.features import Header, Inspection
from relay.model.finding import Finding, Kind
from relay.policy.load import build
from relay.policy.models import InspectionPolicy, Policy, Route, Rule, Waiver
from tests.fakes.custody import mailbox
from tests.stages.decide.cases import ANSWERED, NOBODY_LOOKED, TODAY, UNREADABLE, attachment, case, condition, policy

NAMES = ("a", "b", "c", "d", "e")
ADDRESSES = st.sampled_from(["piet@partner.example", "clerk@court.example", "jan@example.nl"])
PATTERNS = st.lists(st.sampled_from(["*", "partner.example", ".example", "court.example", "jan@example.nl"]), min_size=1, max_size=2)
KINDS = st.sampled_from(list(Kind))
LEAVES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"direction": st.lists(st.sampled_from(["outbound", "inbound", "internal"]), min_size=1, max_size=2)}),
    st.fixed_dictionaries({"phase": st.sampled_from([["open"], ["closed"]])}),
    st.fixed_dictionaries({"tls": st.booleans()}),
    st.fixed_dictionaries({"recipient": PATTERNS}),
    st.fixed_dictionaries({"sender": PATTERNS}),
    st.fixed_dictionaries({"header_from": PATTERNS}),
    st.fixed_dictionaries({"partner": st.just(["court"])}),
    st.fixed_dictionaries({"larger_than": st.sampled_from([0, 4000, 6000])}),
    st.fixed_dictionaries({"recipients_more_than": st.sampled_from([0, 1, 5])}),
    st.fixed_dictionaries({"finding": st.lists(KINDS.map(str), min_size=1, max_size=2)}),
    st.fixed_dictionaries({"subject_contains": st.sampled_from([["hello"], ["secret"]])}),
    st.fixed_dictionaries({"attachment": st.sampled_from([{}, {"extensions": ["exe"]}, {"encrypted": True}])}),
)
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"any": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"all": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"not": inner}),
    ),
    max_leaves=4,
).map(lambda when: condition(**when))
RULES = st.builds(
    Rule,
    name=st.sampled_from(NAMES),
    when=CONDITIONS,
    unless=st.none() | CONDITIONS,
    then=st.sampled_from(["deliver", "deliver", "hold", "quarantine", "reject"]),
    because=st.just("because"),
    route=st.sampled_from([None, None, "out", "court"]),
    final=st.booleans(),
)
WAIVERS = st.builds(
    Waiver,
    name=st.sampled_from(NAMES),
    rules=st.lists(
        st.sampled_from([*NAMES, "undecidable-encrypted", "undecidable-crash", "header", "malware", "brake", "no-rule"]),
        min_size=1,
        max_size=3,
    ).map(tuple),
    when=CONDITIONS,
    owner=st.just("somebody"),
    reason=st.just("because"),
    until=st.sampled_from([TODAY, TODAY.replace(year=2020)]),
)
FINDINGS = st.builds(
    Finding, KINDS, st.sampled_from(["yara", "receive"]), st.sampled_from(["one", "two"]), st.just(""), st.sampled_from(["", "x"])
)
READ = st.builds(
    Inspection,
    header=st.builds(
        Header,
        from_addresses=st.lists(ADDRESSES, max_size=1).map(tuple),
        from_fields=st.just(1),
        subject=st.sampled_from(["Hello", "Secret"]),
        size=st.just(300),
    ),
    attachments=st.lists(
        st.builds(attachment, st.sampled_from(["a.exe", "b.pdf"]), encrypted=st.booleans(), size=st.just(10)), max_size=2
    ).map(tuple),
    findings=st.lists(FINDINGS, max_size=2).map(tuple),
    unavailable=st.sampled_from([(), ("yara",)]),
    answered=st.just(ANSWERED),
)
INSPECTIONS = READ | st.sampled_from([UNREADABLE, NOBODY_LOOKED])
CASES = st.builds(
    case,
    st.just("piet@partner.example"),
    inside=st.booleans(),
    recipients=st.lists(ADDRESSES.map(lambda address: Recipient(mailbox(address))), min_size=1, max_size=2).map(tuple),
    sender=ADDRESSES | st.just(""),
    size=st.sampled_from([100, 5000]),
    tls=st.booleans(),
    inspection=INSPECTIONS,
)
EPOCHS = st.builds(Epoch, st.just("0" * 64), st.sampled_from(["open", "closed"]), st.booleans())
RELEASES = st.none() | st.builds(
    Release,
    st.just("r1"),
    st.lists(FINDINGS.map(lambda finding: finding.identity), max_size=4).map(frozenset),
    st.lists(st.sampled_from([*NAMES, "malware", "brake", "no-rule", "undecidable-crash", "header"]), max_size=6).map(frozenset),
    st.booleans(),
)
RULE_SETS = st.lists(RULES, max_size=4, unique_by=lambda rule: rule.name)
WAIVER_SETS = st.lists(WAIVERS, max_size=3, unique_by=lambda waiver: waiver.name)
ROUTES = st.lists(
    st.sampled_from([Route(name="out", to=("*",)), Route(name="court", to=("court.example",))]), max_size=2, unique_by=lambda r: r.name
)
POLICIES = st.builds(
    lambda rules, waivers, routes, required: policy(*rules, waivers=waivers, routes=routes, inspection=required),
    RULE_SETS,
    WAIVER_SETS,
    ROUTES,
    st.sampled_from([InspectionPolicy(), InspectionPolicy(outbound=(), inbound=(), internal=())]),
)


def verdicts(about: Case, given_policy: Policy, epoch: Epoch, release: Release | None) -> tuple[Verdict, ...]:
    releases = dict.fromkeys(range(len(about.recipients)), release) if release else {}
    return decide(about, given_policy, epoch, TODAY, releases).verdicts


def strictness(said: Verdict) -> tuple[int, bool]:
    """`not yet` is stricter than deliver, and milder than everything else."""
    return (int(said.disposition), said.deferred)


@settings(max_examples=250)
@given(POLICIES, RULES, CASES, EPOCHS, RELEASES)
def test_adding_a_rule_never_makes_a_decision_milder(
    before: Policy, added: Rule, about: Case, epoch: Epoch, release: Release | None
) -> None:
    """But for the first rule that delivers a case that no rule or no route covered: that alert asks for just this rule."""
    assume(added.name not in {rule.name for rule in before.rules})
    after = before.model_copy(update={"rules": (*before.rules, added)})

    for old, new in zip(verdicts(about, before, epoch, release), verdicts(about, after, epoch, release), strict=True):
        if added.disposition is Disposition.DELIVER and old.alert in ("no-rule", "no-route"):
            continue
        assert strictness(new) >= strictness(old)


@settings(max_examples=250)
@given(POLICIES, WAIVERS, CASES, EPOCHS, RELEASES)
def test_adding_a_waiver_never_makes_a_decision_stricter(
    before: Policy, added: Waiver, about: Case, epoch: Epoch, release: Release | None
) -> None:
    after = before.model_copy(update={"waivers": (*before.waivers, added)})

    for old, new in zip(verdicts(about, before, epoch, release), verdicts(about, after, epoch, release), strict=True):
        assert strictness(new) <= strictness(old)


@given(POLICIES, CASES, EPOCHS, RELEASES, st.data())
def test_the_order_of_rules_and_waivers_means_nothing(
    one: Policy, about: Case, epoch: Epoch, release: Release | None, data: st.DataObject
) -> None:
    shuffled = {"rules": tuple(data.draw(st.permutations(one.rules))), "waivers": tuple(data.draw(st.permutations(one.waivers)))}
    other = one.model_copy(update=shuffled)

    for old, new in zip(verdicts(about, one, epoch, release), verdicts(about, other, epoch, release), strict=True):
        assert (old.disposition, old.deferred, old.route, old.alert) == (new.disposition, new.deferred, new.route, new.alert)
        assert set(old.rules) == set(new.rules)


@given(POLICIES, CASES, EPOCHS)
def test_what_nobody_read_is_never_delivered(any_policy: Policy, about: Case, epoch: Epoch) -> None:
    """Without a waiver or a release that speaks of it."""
    bare = any_policy.model_copy(update={"waivers": ()})
    for unread in (UNREADABLE, NOBODY_LOOKED, None):
        for said in verdicts(replace(about, inspection=unread), bare, epoch, None):
            assert strictness(said) > (Disposition.DELIVER, False)


@given(POLICIES, CASES, EPOCHS)
def test_a_message_that_nobody_was_free_to_read_is_refused_only_where_reading_it_would_change_nothing(
    any_policy: Policy, about: Case, epoch: Epoch
) -> None:
    unread = verdicts(replace(about, inspection=NOBODY_LOOKED), any_policy, epoch, None)
    for index, said in enumerate(unread):
        if said.disposition is Disposition.REJECT and not any_policy.waivers:
            assert verdicts(about, any_policy, epoch, None)[index].disposition is Disposition.REJECT


@given(POLICIES, CASES, EPOCHS, INSPECTIONS)
def test_what_is_refused_at_rcpt_would_have_been_refused_after_data(
    any_policy: Policy, about: Case, epoch: Epoch, content: Inspection
) -> None:
    for recipient in about.recipients:
        early = decide_at_rcpt(replace(about, recipients=(recipient,), inspection=None), any_policy, epoch, TODAY)
        late = verdicts(replace(about, recipients=(recipient,), inspection=content), any_policy, epoch, None)[0]
        assert early is None or late.disposition is early.disposition is Disposition.REJECT


@given(POLICIES, CASES, EPOCHS, RELEASES)
def test_a_recipient_alone_is_decided_like_one_among_others(any_policy: Policy, about: Case, epoch: Epoch, release: Release | None) -> None:
    total = len(about.recipients)
    alone = [
        verdicts(replace(about, recipients=(recipient,), recipients_total=total), any_policy, epoch, release)[0]
        for recipient in about.recipients
    ]

    assert tuple(alone) == verdicts(about, any_policy, epoch, release)


@given(POLICIES, CASES, EPOCHS, RELEASES)
def test_only_what_has_a_route_is_delivered(any_policy: Policy, about: Case, epoch: Epoch, release: Release | None) -> None:
    for said in verdicts(about, any_policy, epoch, release):
        assert (said.route is not None) == (said.disposition is Disposition.DELIVER)


@given(st.permutations([("a", "hold"), ("b", "deliver"), ("c", "reject")]), CASES)
def test_the_names_and_number_of_files_mean_nothing(order: list[tuple[str, str]], about: Case) -> None:
    organisation = "name: x\ndomains: [example.nl]\nauthserv_id: x\npostmaster: p@example.nl\n"
    text: Callable[[str, str], str] = "  - name: {}\n    then: {}\n    when: {{tls: true}}\n    because: x\n".format
    one_file = {"organisation.yaml": organisation, "rules/all.yaml": "rules:\n" + "".join(text(*rule) for rule in order)}
    three = {"organisation.yaml": organisation} | {f"rules/{at}.yaml": "rules:\n" + text(*rule) for at, rule in enumerate(order)}
    epoch = Epoch("0" * 64, "open")

    dispositions = [[said.disposition for said in verdicts(about, build(files), epoch, None)] for files in (one_file, three)]
    assert dispositions[0] == dispositions[1]
