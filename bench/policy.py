"""How long policy takes: a decision under 500 rules, and loading 5,000. `python -m bench.policy` prints both figures, in processor time.

500 rules, 50 of them with `if:`, 3 recipients, 5 attachments: the median decision is to stay under 1 ms. 5,000 rules: loading is to stay
under 2 s. Processor time, because the machine may be busy; each figure is the best of ROUNDS, the least disturbed.
"""

import statistics
import time
from dataclasses import replace
from datetime import date

from relay.decide import decide
from relay.model.address import Mailbox
from relay.model.case import Case
from relay.model.client import Side
from relay.model.decision import Epoch
from relay.model.envelope import Recipient
from relay.model.features import Attachment, Header, Inspection
from relay.policy.load import build
from relay.policy.models import Policy

ROUNDS = 5
DECISIONS = 200
DECIDED_RULES, EXPRESSIONS, LOADED_RULES = 500, 50, 5000
TODAY = date(2026, 11, 27)

FILES = {
    "organisation.yaml": (
        "name: Example\ndomains: [example.nl]\nauthserv_id: relay.example.nl\npostmaster: postmaster@example.nl\n"
        "phases: [closed, open]\npartners:\n  - {name: court, domains: [court.example]}\n"
    ),
    "clients.yaml": (
        "clients:\n  - {name: exchange, side: inside, addresses: [192.0.2.0/28], may_send_as: [example.nl], may_send_to: ['*']}\n"
    ),
    "routes.yaml": "routes:\n  - {name: out, to: ['*']}\n",
    "rules/pass.yaml": "rules:\n  - {name: pass, then: deliver, because: ordinary mail}\n",
}

# What rules of an organisation ask: most of a sender, a recipient or a kind of attachment, some of direction or phase only.
_ASKED = (
    "sender: [person{n}@example.nl]",
    "recipient: [unit{n}.example, .unit{n}.example]",
    "attachment: {{extensions: [x{n}], larger_than: {n}}}",
    "direction: [outbound]\n      larger_than: {big}",
    "phase: [closed]\n      partner: [court]\n      larger_than: {n}",
    "subject_contains: [secret{n}]\n      direction: [inbound]",
    "finding_name: [found-{n}]",
    "any:\n        - sender: [a{n}@example.nl]\n        - header_from: [b{n}@example.nl]",
)
_EXPRESSIONS = (
    "attachments.exists(a, a.extension == 'x{n}' && a.size > {n})",
    "message.subject.contains('word{n}') && size(message.to) > 3",
    "recipient.endsWith('@place{n}.example') && message.size > {n}",
    "message.from_display.matches('^Person {n}$')",
    "size(attachments) > {many} || findings.exists(f, f.name == 'x{n}')",
)


def policy_files(rules: int, expressions: int) -> dict[str, str]:
    """A policy of so many rules, in files of a hundred."""
    files = dict(FILES)
    every = rules // expressions if expressions else 0
    for start in range(0, rules, 100):
        lines = ["rules:"]
        for number in range(start, min(start + 100, rules)):
            if every and number % every == 0:
                expression = _EXPRESSIONS[number // every % len(_EXPRESSIONS)].format(n=number, many=50 + number)
                asked = f'if: "{expression}"'
            else:
                asked = _ASKED[number % len(_ASKED)].format(n=number, big=20_000_000 + number)
            lines.append(f"  - name: rule-{number}\n    when:\n      {asked}\n    then: hold\n    because: the reason of rule {number}")
        files[f"rules/r{start}.yaml"] = "\n".join(lines) + "\n"
    return files


def a_case() -> Case:
    """Three recipients, five attachments, nothing found."""
    attachments = tuple(
        Attachment(str(number + 2), f"letter{number}.pdf", "application/pdf", "application/pdf", 100_000 + number, "ab" * 32)
        for number in range(5)
    )
    header = Header(
        from_addresses=("jan@example.nl",),
        from_fields=1,
        from_display="Jan",
        to=("a@b.example",),
        subject="Hello",
        size=500,
        message_id="<1@x>",
    )
    recipients = tuple(Recipient(Mailbox(f"p{number}", f"other{number}.example")) for number in range(3))
    inspection = Inspection(header, attachments, answered=("type", "yara", "archive"))
    return Case("exchange", Side.INSIDE, "jan@example.nl", recipients, 600_000, True, True, inspection, 3, 1_764_000_000_000_000)


def decision_ms(policy: Policy) -> float:
    """The median decision, in milliseconds of processor time: best of some rounds."""
    about, epoch, medians = a_case(), Epoch(policy.digest, "open"), []
    decide(about, policy, epoch, TODAY)  # made ready
    for _ in range(ROUNDS):
        took = []
        for number in range(DECISIONS):
            one = replace(about, size=600_000 + number)
            begun = time.thread_time_ns()
            decide(one, policy, epoch, TODAY)
            took.append(time.thread_time_ns() - begun)
        medians.append(statistics.median(took) / 1e6)
    return min(medians)


def loading_s(files: dict[str, str]) -> float:
    """To build and check a policy, in seconds of processor time: best of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        begun = time.thread_time_ns()
        build(files)
        best = min(best, (time.thread_time_ns() - begun) / 1e9)
    return best


def main() -> None:
    """Prints both figures."""
    policy = build(policy_files(DECIDED_RULES, EXPRESSIONS))
    print(f"{DECIDED_RULES} rules, {EXPRESSIONS} with if:, 3 recipients, 5 attachments: {decision_ms(policy):.3f} ms a decision (bar: 1)")
    print(f"{LOADED_RULES} rules: {loading_s(policy_files(LOADED_RULES, 0)):.2f} s to load (bar: 2)")


if __name__ == "__main__":
    main()
