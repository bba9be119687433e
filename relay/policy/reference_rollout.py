"""The part of docs/policy.md on how a policy comes into force, with a first one whose files are loaded and tested by our own tests."""

from collections.abc import Mapping
from types import MappingProxyType

ORGANISATION = """\
name: Example
domains: [example.org]
authserv_id: relay.example.org
postmaster: postmaster@example.org
phases: [closed, open]
"""
CLIENTS = """\
clients:
  - name: mailservers
    side: inside
    addresses: [192.0.2.10/32]
    may_send_as: [example.org]
    may_send_to: ["*"]
  - name: world
    side: outside
    addresses: [0.0.0.0/0, "::/0"]
    require_tls: false
    may_send_as: ["*"]
    may_send_to: [example.org]
"""
ROUTES = """\
routes:
  - {name: inside, to: [example.org], smart_host: "mail.example.org:25"}
  - {name: outside, to: ["*"], tls: opportunistic}
"""
RULES = """\
# yaml-language-server: $schema=../schema.json
rules:
  - name: pass
    then: deliver
    because: ordinary mail
  - name: closed
    when: {phase: [closed]}
    then: hold
    because: nothing passes while we are closed
  - name: programs
    when: {attachment: {extensions: [exe, js, scr]}}
    unless: {recipient: [lab@example.org]}
    then: quarantine
    because: an attachment that runs
    tell: {nl: Programma's komen niet zonder controle door., en: Programs do not pass without a check.}
"""
TESTS = """\
tests:
  - name: an ordinary message leaves
    envelope: {client: mailservers, sender: jan@example.org, recipients: [piet@partner.example]}
    expect: [{disposition: deliver, route: outside}]
  - name: nothing leaves while we are closed
    envelope: {client: mailservers, sender: jan@example.org, recipients: [piet@partner.example]}
    phase: closed
    expect: [{disposition: hold, rules: [closed]}]
  - name: a program waits for a person, but at the lab
    message: {attachments: [{name: setup.exe, text: MZ}]}
    envelope: {client: world, sender: piet@partner.example, recipients: [jan@example.org, lab@example.org]}
    expect:
      - {recipient: jan@example.org, disposition: quarantine}
      - {recipient: lab@example.org, disposition: deliver}
"""
FIRST: Mapping[str, str] = MappingProxyType(
    {
        "organisation.yaml": ORGANISATION,
        "clients.yaml": CLIENTS,
        "routes.yaml": ROUTES,
        "rules/first.yaml": RULES,
        "tests/first.yaml": TESTS,
    }
)
"""The whole of the first policy."""

SECTION = """\
## Rolling out

The folder is a **working copy**: what stands in it is in force when it was proposed and approved, and not before. (`policy.source` in the
[settings](settings.md#policy) can say otherwise, see below.) The first policy of an empty store is the one exception: the relay takes the
folder at its first start, for without a policy it could accept nothing. The audit says which process did, and from where.

| command | does |
|---|---|
| `sluis policy diff [OLD] [NEW]` | what differs, file by file and rule by rule, and whether one person is enough; without versions: what the working copy would change |
| `sluis policy propose --reason …` | the relay reads the whole of the working copy, runs its tests, and stores it as a version |
| `sluis policy approve VERSION --reason …` | another person puts it in force: by 16 digits of what was looked at (`POLICY+TESTS`, as propose shows it), or its request |
| `sluis request refuse REQUEST --reason …` | refuses it, or takes it back |
| `sluis policy history` | every version: digest, who proposed it and why, who approved it, since when, what its tests and a replay said |
| `sluis policy rollback VERSION --reason …` | proposes an older version again, by the same road |
| `sluis policy export VERSION FOLDER` | writes any version with its tests into a folder: every one stays readable |
| `sluis policy list add\\|remove NAME ENTRY --reason …` | one entry of a list more or less, with day and reason beside it, and proposes that |

A version is named by its digest, of which six digits are enough; `in-force` and `working` name what they say. All commands take `--json`.
Where the working copy can't be written to (mounted read-only in a container), `list add` and `list remove` change the version in force as
the record keeps it, and say that the folder lacks that entry.

**Tests belong to a version.** They are kept with it, and their digest is in what is proposed and in the audit (`tests`). They can change
alone: more of them takes one person. To change or remove one takes two, for it was there to stop something, also where the policy only
becomes stricter; but one that only expects something stricter than it did takes one, and so do the tests that a version of before had when
it was in force (`rollback`). The same policy with other tests is another proposal: `POLICY+TESTS` names it, for `diff` too, which shows them.

**Refused** is what does not load, fails one of its tests, or has none: nothing is stored, and every problem is told with file and line.
`--without-tests` proposes it all the same; the audit keeps that (`untested: true`). To go back to an older version takes no test, nor does
an entry of a list where the version in force has none; that is recorded too. Waivers past
their end are warned about, and so is a pattern of a list that covers more than `policy.pattern_percent` of the recipients of the last 30
days (of the newest 100,000 at most).

**Everywhere at once.** The approval is one commit. Every process on every machine sees it within two seconds, builds the policy, and takes
it between two messages; what was decided under the old one and did not leave yet is decided again. What one process can't build, it
decides nothing under (451), and says so (`policy-unavailable`).

**Two people**, because policy opens gates. One is enough for a change that can only make decisions stricter. The program decides that, by
comparing the two policies, and tells why not where it finds it not proved:

- rules are added that hold, quarantine or reject and do nothing else, or observed ones of that kind come into force; observed ones go;
- waivers go, end sooner, or name fewer rules;
- lists grow where that only stops more, or shrink where that only lets less through: under `not`, in `unless`, in a rule that delivers and in
  a waiver it is the other way round;
- nothing else changed at all.

Where `control.two_people` is `false` one person is always enough, and each event in the audit says so (`two_people: false`). What came
into force since a policy was proposed makes the proposal void (`outdated`): the person who approves must have seen what it changes. It is
no longer in `sluis request list`, and stays in the history.

**Who says what is in force** is `policy.source`:

| value | means |
|---|---|
| `approved` | the above. A restart or a reload with another folder keeps what was approved, logs that, and raises the alert `policy-not-approved`; `sluis check` says it too |
| `folder` | the folder at each start and reload (SIGHUP), on the word of whoever may write it, after its tests |
| `watched` | the same, and a second or two after it changed. A good change is swapped in between two messages; a bad one, or one whose tests fail, leaves the old in force and raises the alert `policy-refused`, once for each change |

## From an empty folder to an approved version

Five files are a policy. Who we are, `organisation.yaml`:

@organisation.yaml@

Who may connect, and as whom each may send, `clients.yaml`:

@clients.yaml@

The ways out, `routes.yaml`:

@routes.yaml@

What is delivered and what is not, `rules/first.yaml` (any number of files, any names); without a rule that delivers, all would be held:

@rules/first.yaml@

And what all that must do, `tests/first.yaml`:

@tests/first.yaml@

Then:

    sluis check --offline                 # loads it: each problem with file, line and the nearest known key
    sluis policy test --all-reached       # runs the tests; fails where a rule is reached by none
    sluis serve                           # the first start takes it: version one

From here on the folder is a working copy. Say that a partner is to be trusted less:

    sluis policy new rule partner         # a commented skeleton, mode: observe; fill it in
    sluis policy explain --eml suspicious.eml --from piet@partner.example --to jan@example.org
    sluis policy test
    sluis policy diff                     # what it would change, and whether it takes two
    sluis policy propose --reason "partner.example was broken into"

The answer names the version, and what to do next. If it can only make decisions stricter it is in force already; else somebody else looks
at it and approves it:

    sluis policy diff in-force 3f9a12c4d05e7b61
    sluis policy approve 3f9a12c4d05e7b61 --reason "as agreed this morning"
    sluis policy history

And if it was a mistake: `sluis policy rollback VERSION --reason …`. To be milder again takes two people too; to pull the brake
(`sluis brake pull`) takes one.
"""  # noqa: E501 - a row of a table is one line


def section() -> str:
    """As Markdown."""
    text = SECTION
    for name, content in FIRST.items():
        text = text.replace(f"@{name}@", "".join(f"    {line}\n" if line else "\n" for line in content.splitlines()).rstrip())
    return text
