"""`python -m relay.policy.reference` prints docs/policy.md."""

from collections.abc import Iterator

from pydantic import BaseModel

from relay.model.finding import UNDECIDABLE, Kind
from relay.policy import models, ways
from relay.policy.base import Domain, Listed, Name, Pattern
from relay.policy.builtin import BUILTIN
from relay.policy.parties import AddressRange
from relay.policy.reference_rollout import section
from relay.policy.vocabulary import STRUCTS, VARIABLES
from relay.settings.key_table import about, key_table

WORDS = {
    "name": Name,
    "pattern": Pattern,
    "domain": Domain,
    "address range": AddressRange,
    "pattern or list": Listed,
    "finding": Kind,
    "inspector": ways.Inspector,
}
RULES = (
    models.Rule,
    models.Condition,
    models.AttachmentCondition,
    models.HeaderCondition,
    models.TimeCondition,
    models.FirstTimesCondition,
    models.AuthenticationCondition,
    models.Tell,
)
FILES: tuple[tuple[str, str, tuple[type[BaseModel], ...]], ...] = (
    ("`organisation.yaml`", "The keys stand at the top of the file.", (models.Organisation, models.Partner)),
    ("`clients.yaml`", "A list under `clients`.", (models.Client, models.Limits)),
    ("`senders.yaml`", "A list under `senders`.", (models.SenderRule,)),
    ("`recipients.yaml`", "A list under `recipients`.", (models.Recipients,)),
    ("`routes.yaml`", "A list under `routes`.", (models.Route,)),
    ("`signing.yaml`", "A list under `signing`.", (models.Signing, models.SigningKey)),
    ("`inspection.yaml`", "The keys stand at the top of the file.", (models.InspectionPolicy,)),
    ("`rules/*.yaml`", "A list under `rules`, in any number of files.", RULES),
    ("`waivers/*.yaml`", "A list under `waivers`, in any number of files.", (models.Waiver,)),
)

INTRODUCTION = """\
# Policy

Who may send what to whom, and what happens to it. A folder of YAML files, read whole, checked whole, applied whole: if anything in it is
wrong, what was in force stays in force. Its digest is in every decision. How it comes into force: [Rolling out](#rolling-out). `sluis init
DIR` writes a folder to begin with; `sluis check` says what is wrong, each problem with file, line and the nearest known key:

    policies/rules/attachments.yaml:14: unknown key 'recipients' (did you mean 'recipient'?)

YAML is 1.2 without anchors, aliases, tags, merge keys or a second document: `yes`, `no` and `on` are words, `0o17` is octal and `017` is
seventeen. A key that stands twice is refused.

## How a decision is made

1. Every rule is looked at, for each recipient alone. The order of rules and files means nothing.
2. The strictest rule that matches and is not waived wins: `deliver`, then `hold`, `quarantine`, `reject`.
3. A [waiver](#waiversyaml) takes named rules away where its condition surely holds, until its end. It can't take away a `final` rule.
4. A release by staff is the same for one message, bound to the findings and rules that were seen: one that is new stops it again. What
   a `final` rule stopped takes a second person; the brake can't be released, only let go.
5. If nothing is left, the mail is held with an alert: a forgotten case loses nothing and lets nothing out.

Adding a rule never makes a decision milder, but for the first one that says `deliver` of a case that no rule covered. Adding a waiver
never makes one stricter.

**What is not known.** Of a condition that looks at content which nobody could read (a reader died, a limit was met) it is unknown whether
it holds, and of everything built on it. A rule of which that is unknown counts where it is strict, but refuses nothing: `quarantine` at
most. It never lets anything pass, and a waiver of which it is unknown takes nothing away. An inspector that must answer and does not
(`inspection.yaml`) turns `deliver` into "not yet" and changes nothing else: 451 at the door, tried again in custody.

**Who really sent it.** Where a rule or waiver asks for `authentication`, what comes from outside is verified while its client waits for the
reply: SPF, up to five DKIM signatures and DMARC, in five seconds all together. What DNS does not answer in time is `temperror`: never
`pass`, and the mail goes on as policy says; it is asked again when the message is decided again. What was known when the message came in
stays so. It leaves in an Authentication-Results field (RFC 8601). Two things are not known: `spf` from a client that is `already_accepted`
and does not name the sending server (XFORWARD), with the `dmarc` that would rest on it; and all of it for a header that nobody could read.

**At RCPT** a recipient is refused by a rule only where no content could make it milder: the rule rejects, holds already on the envelope,
and no waiver may come to take it away. One that keeps evidence waits for the content: what is refused at RCPT leaves none.

**One reply after DATA** for all recipients: all rejected, 550; all deferred or rejected, 451; otherwise 250, and every recipient is in
custody. LMTP answers for each. In custody a rejection is a bounce to a vouched sender, and otherwise waits in the quarantine.

## What a rule does besides

- `route` names the way out; two rules that name different ones hold the mail, with an alert.
- `require_tls`: the recipient's mail leaves over verified TLS only, whatever its route asks for; else it waits and fails as on a route with
  `tls: verified`.
- `headers` puts fields in front: `Comments`, `Keywords` (RFC 5322 §3.6.5) and all that begin with `X-Sluis-`; a value is one line of
  printable ASCII.
- `notify` tells addresses of ours, once for each message and rule, by a message from the empty reverse-path. It names message, rule, sender
  and recipients, and nothing of the content. Of one rule an address gets `policy.notices_per_hour` of them; what is over that is held back,
  and one notice in the next hour says how many messages there were.
- `keep` makes it evidence (with `quarantine` or `reject`): nobody can release it, retention leaves it, a refused message keeps its body.

They add up over all rules that match and that no waiver took away, whatever disposition wins: the order of rules means nothing here either.
Each recipient has its own; those with different fields or TLS get copies of their own. They are in the record with the delivery, in the
`accepted` and `decided` events, and in `explain`; what staff release leaves as its rules say. A `deliver` rule of which it is not known
whether it holds asks for its TLS all the same. Fields stand above our Received field and are put in before the message is signed; a field
below it came from elsewhere, whatever its name. Of a refusal before DATA and of what Sluis writes itself nobody is told.

Evidence waits in the quarantine (or stays refused) and is in the list of what must be kept: `sluis message unkeep` by an admin ends that,
and only then can it be deleted.

## Trying it before it meets mail

| command | tells |
|---|---|
| `sluis policy test` | whether the tests beside the policy (`tests/*.yaml`) come out as expected, and what none of them reaches |
| `sluis policy explain --eml FILE --from … --to …` | what would become of a message, rule by rule, and what would let it \
pass; what is assumed, and how to say it (`--authenticated spf=fail`, `--first-time ADDRESS`) |
| `sluis policy explain MESSAGE --reason …` | the same of a message of the record, under the policy that decided it |
| `sluis policy replay --since 30d` | what of the mail of the last 30 days would have come out otherwise, rule by rule |
| `sluis policy for SENDER [RECIPIENT]` | which rules can come to speak of mail from somebody, and on what that depends |
| `sluis policy new rule\\|waiver\\|list\\|test NAME` | nothing: it writes a commented skeleton |
| `sluis policy schema` | the JSON Schema of all files, which ships as `schema.json` for editors |

## Replay

`sluis policy replay --since 30d` decides recorded traffic again under the working copy and shows the difference: recipients by old and new
disposition, the rules that it is due to, and the newest messages of each (`--limit`). `--json` gives the same to programs, `--html FILE` a
page with pictures of the flow between dispositions, `--rule NAME` what is due to one rule, `--version DIGEST` decides under a policy that
was in force, `--phase NAME` as if a phase had held all the time. The relay may run meanwhile: the record is read in short pages and nothing
is changed. Whoever calls must be able to read the store. Sender and recipient are shown to whoever gives a `--reason`, which is kept
in the audit.

No body is read: each message left in the record what a decision looks at. It is decided as of the moment, in the phase, under the brake and
with the release of its last decision, and by the clients and senders of the new policy. So an unchanged policy shows no difference.

- **Not known.** Where the record does not tell what the decision would depend on, the new disposition is `not known`, and it is counted by
  the condition that asks: an inspector that is required now and was not asked then (`inspector clamd`), a key whose field was not yet
  recorded, a phase or client that the policy does not have, a message that was rebuilt from the spool. Messages that retention erased are
  counted. Nothing is guessed.
- **At the door.** What was refused before its content came (client, sender, recipient, rates) left no message, and is not decided again.
  Who is authorised to send as whom is taken as it was; only the header From is judged anew.
- **Observing.** A rule with `mode: observe` never matches. What it would have said is in the record (`sluis message show`), in the metric
  `sluis_observed_matches_total`, and in the replay of past mail with the disposition that stands without it.

## CEL

`if:` holds one expression of the Common Expression Language that is true or false, for what no key can say. It is checked at load: names,
types, regular expressions (RE2), at most 1000 characters, 16 brackets and 24 expressions in each other, four of `all`, `exists`,
`exists_one`, `filter`, `map` and none inside another. What is not known makes what depends on it unknown, and so does an error, such as a
place in a list that is not there. `size` of a text counts its octets in UTF-8. An expression can speak of:

@VARIABLES@

## Patterns

| pattern | covers |
|---|---|
| `a@b.nl` | this address; case does not matter |
| `b.nl` | every address at this domain, not below it |
| `.b.nl` | every address below this domain, not at it |
| `*` | every address; never the empty reverse-path |

Domains may be written in their own script or as A-labels. From outside, `*` and patterns wider than our own domains never cover an
address of ours: who sends as us from there is named to the letter.
"""


def document() -> str:
    """The page."""
    lines = [
        INTRODUCTION.replace("@VARIABLES@", "\n".join(_variables())),
        section(),
        "## Built-in rules",
        "",
        "They are in force without standing in any file; their names are taken.",
        "",
    ]
    lines += ["| rule | says | final | reason |", "|---|---|---|---|"]
    lines += [f"| `{name}` | `{said}` | {'yes' if final else 'no'} | {because} |" for name, (said, final, because) in BUILTIN.items()]
    lines += ["", "Kinds of finding: " + ", ".join(f"`{kind}`" for kind in Kind) + "."]
    lines += ["Undecidable among them: " + ", ".join(f"`{kind}`" for kind in sorted(UNDECIDABLE)) + "."]
    lines += ["", "The tables below are made from the code (`python -m relay.policy.reference`)."]
    for heading, how, shapes in FILES:
        lines += ["", f"## {heading}", "", how]
        for shape in shapes:
            lines += ["", f"### {shape.__name__}", "", about(shape), "", *key_table(shape, WORDS)]
            if shape is models.Route:
                lines += ["", about(models.TlsLevel)]
    return "\n".join(lines) + "\n"


def _variables() -> Iterator[str]:
    yield from ("| name | value | meaning |", "|---|---|---|")
    for name, variable in VARIABLES.items():
        kind = f"list of {variable.kind}" if variable.kind in STRUCTS else variable.kind
        unknown = "; not known before the message was read" if variable.content else ""
        yield f"| `{name}` | {kind} | {variable.meaning}{unknown} |"
    for struct, fields in STRUCTS.items():
        yield from (f"| `{name}` of {struct} | {kind} | {meaning} |" for name, (kind, meaning) in fields.items())


if __name__ == "__main__":
    print(document(), end="")  # noqa: T201 - the output is the document
