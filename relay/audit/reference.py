"""`python -m relay.audit.reference` prints docs/record.md."""

import inspect as introspection

from sqlmodel import SQLModel

from relay.audit.kinds import KINDS
from relay.model.delivery import FINISHED, MOVES, QUEUED, State
from relay.store import tables

MODELS: tuple[type[SQLModel], ...] = (
    tables.Message,
    tables.Delivery,
    tables.Queue,
    tables.Event,
    tables.EventRecord,
    tables.Request,
    tables.Approval,
    tables.Kept,
    tables.Notification,
    tables.PolicyVersion,
    tables.PolicyRollout,
    tables.Control,
    tables.Counter,
    tables.Tally,
    tables.Unheard,
)

INTRODUCTION = """\
# The record

What Sluis keeps of a message: rows in the store, an event in the audit, the body in the spool. The client hears 250 when all three are
durable, and not before. The tables and lists below are made from the code (`python -m relay.audit.reference`).

## What is written when
1. While DATA comes in, the body goes to the spool: encrypted, hashed and counted as it streams by.
2. When it is decided, the body is *sealed*: an encrypted manifest (the accepted event with envelope and decision) is appended, and file
   and folder are synced.
3. Message, deliveries, queue rows, running counts and the `accepted` event go into one commit. Many messages share a commit; each waits
   for its own.
4. `250 2.0.0 Ok: queued as ID COMMITMENT`. The commitment is that of the accepted event, and stands in the Received field too.
5. Before the final dot of an attempt, its *mark* is committed, fenced by the lease on the delivery. After the reply, the outcome and its
   event are. A marked attempt without an outcome is a possible duplicate: the next outcome and `sluis message show` say so.

A crash between 2 and 3 leaves a body without a row. The sweep removes it when it is older than twice the longest session.

If a sync fails, the process ends at once: what is on the disk is then unknown, and asking again would lie. On PostgreSQL the server does
the same. A disk that is full is no such case: RCPT hears 452 from the watermark on (`spool.full_percent`, `spool.reserve`).

## The store
SQLite (`sqlite:///PATH`; one process owns it, held by a lock beside the file) or PostgreSQL (`postgresql+psycopg://…`). A URL with a
password is refused: PostgreSQL has its password file for that.

    sluis store upgrade                                   makes the tables, or migrates them
    sluis store upgrade --url postgresql+psycopg://…      the same as the owner of the tables; the role of store.url gets its rights
                        --listen-role ROLE                so does the role of `serve --role listen`
    sluis store check                                     checks all that can be checked; exits 1 if something is wrong

The relay starts only on the schema of its own version, with all triggers as they were made, and where a commit is durable: SQLite with
`synchronous=FULL`; PostgreSQL with `fsync`, `full_page_writes` and `synchronous_commit` on.

On PostgreSQL two roles are wanted: an owner, who migrates, and the relay's own, which owns nothing, may add and read events, and may
change a record only by erasing it. Where the relay is two services, the one that listens has a third: it may add messages, deliveries,
queue rows and events, and count; it sees policy, phase and brake, and the states of deliveries; it can't read messages or events, change
what was decided, or write requests and approvals. Each upgrade gives these roles just that, whatever they had before
(`relay/store/schema.py`).

`message`, `delivery`, `event` and `event_record` are partitioned by month of the id (UUIDv7), made 24 months ahead by each upgrade; beyond
them a default partition takes what comes.

A row of `delivery` tells what its last decision rests on, so that `sluis policy replay` and `explain` can decide again without a body:
policy and phase, `decided_us` (dates in a policy count from it), `deferred`, the release. The features are those of the message,
`inspection`; a recipient who was decided before the message was inspected again keeps those of then. `observed` are rules with `mode:
observe` that would have matched. Rows of before schema 0005 do not tell all of that.

`sluis store check` looks at schema and triggers, durability, ownership (PostgreSQL), the commitment of every event, the balance, and every
body that a row names: is it there, as long as the record says, and does its key open. The bodies of messages that wait for somebody are
read whole: every chunk by its tag, all of it by the SHA-256 of the record; with `--bodies` every body that is kept. It only reads, in
pages, beside a running relay.
"""

EVENTS = """\
An event says what was done to what, with what result, from where, by whom, when and why (BIO2 8.15). Its canonical form is RFC 8785
JSON with these members; `details` depends on the kind.

    {"actor": …, "details": {…}, "id": …, "kind": …, "object": …, "origin": …, "reason": …, "result": …, "time_us": "…"}

    commitment = HMAC-SHA256(key = salt, message = canonical form)          salt: 32 random octets

`event` keeps id, kind and commitment for ever: triggers refuse UPDATE, DELETE, REPLACE, upsert and TRUNCATE. `event_record` keeps canonical
form and salt; the one change that its triggers let through is erasing both (retention, law). Without them the commitment tells nothing,
and the log still verifies. Everything personal is in the record, nothing in the event.

To check one by hand, with the `canonical` and `salt` of its record:

    openssl dgst -sha256 -mac HMAC -macopt hexkey:SALT canonical.json

`sluis audit check` and `sluis store check` call an event *sound*, *erased*, or *broken*: its record is gone, or is not what was committed
to.
"""

SPOOL = """\
One file for each body, `SPOOL/xxxxxx/<message id>`; the folder is the first six digits of the id (4.7 hours of mail).

| octets | what |
|---|---|
| 0-15 | `sluis-spool`, zeros, format version 1 |
| 16-151, 152-287 | two key slots of 136 octets |
| 288-511 | zeros |
| 512- | the body: chunks of 65,536 octets, each followed by a tag of 16; the last one is shorter or empty |
| | the manifest (JSON), with its tag |
| last 16 | body size, manifest size: two 64-bit numbers, big-endian |

A key slot is generation (4 octets), key id (8), ephemeral X25519 public key (32), wrapped body key with tag (48), and the SHA-256 of those
(32); the rest is zeros.

- Body and manifest: AES-256-GCM under a key that is used for this object only. The nonce is domain (1 octet: 0 body, 1 manifest), counter
  (10), last flag (1), the STREAM construction. Associated data is the object's name. So a chunk that is altered, swapped, repeated or
  missing, an object cut short, and one object in the place of another are all refused, before a byte of the chunk is used.
- Body key: wrapped to the spool's X25519 public key: `HKDF-SHA256(shared secret, salt = ephemeral public key + public key, info = "sluis
  spool body key v2")` gives the AES-256-GCM key, with the object's name as associated data; the nonce is the first 12 octets of the SHA-256
  of the generation in decimal and the name. One ephemeral key serves for a second, at most a thousand bodies. The key id is the first 8
  octets of the SHA-256 of the raw public key.
- Intake holds the public key only: it can write and not read.
- Files are made 0660 and folders 0770, under the umask of `sluis serve`: 077, so that nobody else may read them; with `--role listen` and
  `--role deliver` 007, so that the two, as users of one group, share them. Private keys are 0600 always.
- The sizes at the end are not secret and not trusted: the last chunk's flag proves where the body ends.

To erase a body, its key slots are overwritten and synced before the file goes, so that what the disk keeps is of no use.

## Spool keys
    sluis keys spool new       the first key pair
    sluis keys spool list      what is here
    sluis keys spool rotate    a new pair; every body key is wrapped to it, no body is touched

Private keys lie in `spool.private_keys`, mode 600, one file a key. Rotation writes the new slot, syncs, wipes the old one, and syncs:
cut short at any moment, one sound slot is left, and the next rotation wipes what is left over. Old private keys stay where they are until
you remove them; do that when a rotation has reported no failure and every process that accepts mail has been
reloaded or restarted. Keep a copy of the private keys elsewhere: without them no body can be read.
"""

BALANCE = """\
recipients accepted = delivered + bounced + deleted + waiting + erased, always. Running counts (`tally`, one for each state, `accepted` and
`erased`) are moved in the transaction of what they count. Every `delivery.balance` seconds it is seen whether they add up; every
`delivery.recount` seconds, and first after a start, every recipient is counted against them: in pages of an index, all of one moment, with
pauses, so that traffic neither disturbs the count nor is disturbed. `sluis store check` counts too. What does not add up raises the alert
`balance` and pulls the brake. Refused recipients are not in custody: they are counted, and are no part of the sum.
"""


def document() -> str:
    """The page."""
    lines = [
        INTRODUCTION,
        "## Tables",
        "",
        *_tables(),
        "",
        "## States of a delivery",
        "",
        *_states(),
        "",
        "## Events",
        "",
        EVENTS,
        *_kinds(),
    ]
    lines += ["", "## The spool", "", SPOOL, "## The balance", "", BALANCE]
    return "\n".join(lines).rstrip() + "\n"


def _tables() -> list[str]:
    """Name, what it is, columns; the primary key in bold."""
    lines = ["| table | what | columns |", "|---|---|---|"]
    for model in MODELS:
        table = model.__table__  # type: ignore[attr-defined]
        columns = [f"**{column.name}**" if column.primary_key else column.name for column in table.columns]
        lines.append(f"| `{table.name}` | {_about(model)} | {', '.join(columns)} |")
    return lines


def _about(model: type[SQLModel]) -> str:
    return " ".join((introspection.getdoc(model) or "").split())


def _states() -> list[str]:
    lines = ["| state | moves to | |", "|---|---|---|"]
    for state in State:
        where = "in the queue" if state in QUEUED else "finished" if state in FINISHED else "waits"
        moves = ", ".join(new.value for new in State if new in MOVES[state])
        lines.append(f"| `{state.value}` | {moves} | {where} |")
    return lines


def _kinds() -> list[str]:
    return ["| kind | what happened |", "|---|---|", *(f"| `{kind}` | {what} |" for kind, what in KINDS.items())]


if __name__ == "__main__":
    print(document(), end="")  # noqa: T201 - the output is the document
