"""One message of the record decided again: at the moment, in the phase, under the brake and with the release of then."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from itertools import groupby
from typing import Any

from relay.decide.compiled import compiled
from relay.decide.verdict import Judged, judged
from relay.judge import day_of
from relay.model.case import Case
from relay.model.decision import Epoch, Verdict
from relay.model.delivery import State
from relay.model.features import Inspection
from relay.model.finding import Kind
from relay.policy.models import Policy
from relay.receive.senders import INSPECTOR, header_findings
from relay.record.rebuilt import RULE as REBUILT
from relay.rehearsal.recorded import braked, case_from, release_lost, release_of
from relay.rehearsal.replay.causes import carriers, causes
from relay.rehearsal.replay.counts import NOT_KNOWN, Counts, Example
from relay.rehearsal.replay.gaps import Gaps, complete, lacking
from relay.road import OWN_CLIENT, client_named

FROM = "from-"
"""How the findings of `relay.receive.senders.header_findings` begin, which rest on policy."""


class Again:
    """`phase`: as if it had held all the time; None: that of the record. `whom`: examples name sender and recipient."""

    def __init__(self, policy: Policy, phase: str | None, whom: bool) -> None:
        self._policy = policy
        self._phase = phase
        self._whom = whom
        self._ready = compiled(policy)
        self._gaps = Gaps(self._ready)
        self._clients = {OWN_CLIENT.name} | {client.name for client in policy.clients}
        self._phases = frozenset(policy.organisation.phases)
        ends = [day for rule in policy.rules for day in (rule.since, rule.until)] + [waiver.until for waiver in policy.waivers]
        self._ends = sorted(day for day in ends if day is not None)

    def message(self, message: Any, deliveries: Sequence[Any], counts: Counts) -> None:
        """Adds what it comes to. Recipients who were decided at once are decided at once."""
        counts.messages += 1
        counts.recipients += len(deliveries)
        for _, group in groupby(deliveries, key=_together):
            rows = list(group)
            try:
                self._group(message, rows, counts)
            except (KeyError, TypeError, ValueError, AttributeError):
                for row in rows:
                    self._unknown(message, row, ["(the record can't be read)"], counts)

    def _group(self, message: Any, rows: Sequence[Any], counts: Counts) -> None:
        first = rows[0]
        inspection = first.inspection or message.inspection
        if not inspection or not all(row.envelope for row in rows):
            for row in rows:
                self._unknown(message, row, ["(erased)"], counts)
            return
        missing = lacking(inspection)
        case = self._case(message, rows, inspection if not missing else complete(inspection))
        epoch, free = self._epoch(first), self._gaps.keys(missing) if missing else frozenset[str]()
        if self._phase is None and first.phase not in self._phases:
            free |= {"phase"}
        found, other = self._decided(case, epoch, first, rows)
        for index, (row, one) in enumerate(zip(rows, found, strict=True)):
            now, was = _word(one.verdict), _was(row)
            lost = list(self._lost(case, message, row, one, was, free))
            if other is not None and _word(other[index].verdict) != now:
                lost.append("(the day of the decision)")
            if lost:
                self._unknown(message, row, lost, counts)
            else:
                self._known(message, row, one.verdict, was, now, counts)

    def _case(self, message: Any, rows: Sequence[Any], inspection: Mapping[str, Any]) -> Case:
        """The header From is judged by the clients and senders of this policy, as the relay would."""
        case = case_from(message, rows, inspection)
        found = case.inspection
        assert found is not None
        if not found.header.size:
            return case
        client = client_named(message.client, self._policy)
        kept = tuple(one for one in found.findings if not (one.kind is Kind.HEADER and one.inspector == INSPECTOR and _rests(one.name)))
        findings = kept + header_findings(found.header, client, message.peer.get("login"), self._policy)
        return case if findings == found.findings else replace(case, inspection=replace(found, findings=findings))

    def _epoch(self, row: Any) -> Epoch:
        """A phase that the policy does not have is its first one, as for a relay."""
        phase = self._phase or (row.phase if row.phase in self._phases else self._policy.organisation.phases[0])
        return Epoch(self._policy.digest, phase, braked(row))

    def _decided(self, case: Case, epoch: Epoch, first: Any, rows: Sequence[Any]) -> tuple[list[Judged], list[Judged] | None]:
        """And a second time where the record does not tell the day, and the policy changes from one possible day to the other."""
        releases = {index: release for index, row in enumerate(rows) if (release := release_of(row)) is not None}
        day = day_of(first.decided_us or case.received_us)
        found = judged(case, self._policy, epoch, day, releases)
        if first.decided_us is not None:
            return found, None
        later = day_of(max(row.changed_us for row in rows))
        return found, judged(case, self._policy, epoch, later, releases) if self._differs(day, later) else None

    def _differs(self, day: date, later: date) -> bool:
        """`since` counts on its day, `until` on the day after."""
        return any(day <= end <= later for end in self._ends) and day != later

    def _lost(self, case: Case, message: Any, row: Any, one: Judged, was: str, free: frozenset[str]) -> Iterator[str]:
        """Conditions that the record can't answer, and on which it depends."""
        verdict, now = one.verdict, _word(one.verdict)
        if any(match["rule"] == REBUILT for match in row.rules):
            yield "(rebuilt from the spool)"
            return
        if verdict.deferred and was != now and case.inspection is not None and case.inspection.header.size:
            yield from (f"inspector {name}" for name in self._not_asked(case, case.inspection, row))
        if was == now and not free:
            return
        if was != now and message.client not in self._clients:
            yield "client"
        if was != now and release_lost(row):
            yield "(an earlier release)"
        if free:
            yield from sorted(self._gaps.matter(one.facts, verdict, free))
        yield from sorted(self._gaps.unknown(one) - free)

    def _not_asked(self, case: Case, inspection: Inspection, row: Any) -> list[str]:
        """Inspectors that this policy waits for, and that nobody asked then."""
        direction = self._ready.direction(case, row.recipient)
        required: tuple[str, ...] = getattr(self._policy.inspection, direction.value)
        return [name for name in required if name not in inspection.answered and name not in inspection.unavailable]

    def _known(self, message: Any, row: Any, verdict: Verdict, was: str, now: str, counts: Counts) -> None:
        counts.flows[was, now] += 1
        for match in row.rules:
            counts.matched[match["rule"]] += 1
        for found in verdict.matches:
            counts.matches[found.rule] += 1
        for would in verdict.observed:
            counts.observed[would.rule, str(would.disposition), now] += 1
        if was != now:
            example = self._example(message, row, was, now, verdict)
            for change in causes(row.rules, was, verdict, now):
                counts.note(change, example)
        elif verdict.route is not None and row.route is not None and verdict.route != row.route:
            counts.routes[row.route, verdict.route] += 1

    def _unknown(self, message: Any, row: Any, lost: Sequence[str], counts: Counts) -> None:
        was = _was(row)
        counts.flows[was, NOT_KNOWN] += 1
        example = self._example(message, row, was, NOT_KNOWN, None)
        for condition in dict.fromkeys(lost):
            counts.note_unknown(condition, example)

    def _example(self, message: Any, row: Any, was: str, now: str, verdict: Verdict | None) -> Example:
        return Example(
            message.id.hex,
            row.ordinal,
            message.received_us,
            was,
            now,
            carriers(row.rules, row.disposition),
            verdict.rules if verdict else (),
            verdict.because if verdict else "",
            *((message.sender, row.recipient) if self._whom else ()),
        )


def _rests(finding: str) -> bool:
    return finding.startswith(FROM)


def _together(row: Any) -> tuple[Any, ...]:
    """Rows that are the same here were decided on the same facts. An inspection of its own is compared as it is."""
    return row.policy, row.phase, row.decided_us, row.inspection, braked(row), row.changed_us if row.decided_us is None else 0


def _word(verdict: Verdict) -> str:
    return "defer" if verdict.deferred else str(verdict.disposition)


def _was(row: Any) -> str:
    """Before it was recorded whether a decision was put off, its state tells so: what is refused or undecided and says deliver."""
    deferred = row.deferred
    if deferred is None:
        deferred = row.disposition == "deliver" and row.state in (State.REFUSED, State.UNDECIDED)
    return "defer" if deferred else str(row.disposition)
