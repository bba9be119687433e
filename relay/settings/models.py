"""The shape of `sluis.toml`: strict; the default is the safe one. Sizes are octets, times are seconds."""

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from relay.model.client import Side

Seconds = Annotated[float, Field(gt=0)]
Octets = Annotated[int, Field(ge=1)]


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        version = ipaddress.ip_address(bare).version
    except ValueError:
        raise ValueError(f"'{text}' is no IP address and port such as 127.0.0.1:25 or [::1]:25") from None
    if (version == 6) != host.startswith("["):
        raise ValueError(f"'{text}': an IPv6 address stands in brackets, an IPv4 address does not")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise ValueError(f"'{text}': a port is a number up to 65535")
    return text


Address = Annotated[str, AfterValidator(_address)]
"""`127.0.0.1:25` or `[::1]:25`; port 0 takes a free one."""


class Strict(BaseModel):
    """Frozen; an unknown key is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TlsFiles(Strict):
    """A server certificate. Read again at SIGHUP, so that a new one needs no restart."""

    certificate: Path = Field(description="the certificate chain (PEM)")
    key: Path = Field(description="its private key (PEM)")
    client_ca: Path | None = Field(
        default=None, description="what client certificates are checked against (PEM); without it none are asked"
    )


class Listener(Strict):
    """A group of sockets that face one side."""

    name: str = Field(description="its name in the log and the record")
    side: Side = Field(description="`inside`: the organisation's mail servers (outbound mail); `outside`: the world (inbound mail)")
    addresses: tuple[Address, ...] = Field(min_length=1, description="`127.0.0.1:25` or `[::1]:25`; port 0 takes a free one")
    protocol: Literal["smtp", "lmtp"] = Field(default="smtp", description="`smtp`, or `lmtp` for a reply for each recipient (RFC 2033)")
    tls: TlsFiles | None = Field(default=None, description="certificate and key; without it no TLS is offered")
    implicit_tls: bool = Field(default=False, description="TLS from the first byte, instead of STARTTLS (RFC 8314 §3)")
    require_tls: bool = Field(default=True, description="no mail without TLS: 530 5.7.0 before MAIL FROM")
    auth: bool = Field(default=False, description="AUTH PLAIN and LOGIN, only under TLS; `logins` says who")
    proxy_from: tuple[str, ...] = Field(default=(), description="networks that must send a PROXY header (v1 or v2) first")
    xclient_from: tuple[str, ...] = Field(default=(), description="networks that may use XCLIENT")
    xforward_from: tuple[str, ...] = Field(default=(), description="networks that may use XFORWARD")
    connections: int = Field(default=500, ge=1, description="at a time")
    connections_per_address: int = Field(default=50, ge=1, description="at a time, from one address")
    connections_per_minute: int = Field(default=600, ge=1, description="new ones in a minute, from one address")
    message_size: Octets = Field(default=50 * 1024 * 1024, description="octets of one message (SIZE, RFC 1870)")
    # RFC 5321 §4.5.3.1.8: at least 100
    recipients: int = Field(default=1000, ge=100, description="recipients in one transaction; more hear 452 5.5.3")
    errors: int = Field(default=10, ge=1, description="refused commands in one session, then 421")
    commands_without_mail: int = Field(default=100, ge=10, description="commands in one session that bring no mail on, then 421")
    # RFC 5321 §4.5.3.2.7
    command_timeout: Seconds = Field(default=300, description="seconds to wait for a command")
    # RFC 5321 §4.5.3.2.5
    data_timeout: Seconds = Field(default=180, description="seconds to wait for the next piece of a message")
    session_timeout: Seconds = Field(default=3600, description="seconds that a whole session may take")


class Store(Strict):
    """The record: messages, deliveries, queue, events."""

    url: str = Field(
        default="sqlite:////var/lib/sluis/sluis.db",
        description="`sqlite:///PATH` or `postgresql+psycopg://…`; PostgreSQL's password comes from its own password file, never from here",
    )
    batch_messages: int = Field(default=64, ge=1, description="messages in one durable commit, at most")
    gather: float = Field(
        default=0.003, ge=0, le=0.1, description="seconds that a commit waits for more messages while there are many; 0 for never"
    )
    standby: Literal["none", "synchronous", "asynchronous"] = Field(
        default="none",
        description="`none`: PostgreSQL has no standby, and one that follows stops the start; `synchronous`: one may be promoted, and each "
        "commit waits until it has it; `asynchronous`: they follow all the same, and promoting one loses mail that heard 250",
    )


class ObjectStore(Strict):
    """An S3-compatible object store for the bodies. It must refuse a conditional PUT (`If-Match`) whose condition is not met."""

    url: str = Field(description="`s3://BUCKET` or `s3://BUCKET/PREFIX`; the bucket exists, and keeps no old versions")
    endpoint: str | None = Field(default=None, description="`https://HOST:PORT`; without it Amazon's of the region")
    region: str = Field(default="us-east-1", description="the region that requests are signed for")
    path_style: bool = Field(default=True, description="the bucket stands in the path, and not in the host name")
    credentials: Path | None = Field(
        default=None,
        description="a file with `aws_access_key_id` and `aws_secret_access_key` (`[default]`, as other tools write it), that others may "
        "not read; without it the environment says (`AWS_ACCESS_KEY_ID` and the like)",
    )
    ca_file: Path | None = Field(default=None, description="the authority of the endpoint's certificate (PEM), besides the public ones")
    allow_plain_http: bool = Field(default=False, description="`http://` to another machine: credentials are not sent, but all can see who")
    deadline: Seconds = Field(default=30, description="seconds until a request, with all that is tried again, has failed")

    @property
    def bucket(self) -> str:
        """Its name."""
        return self.url.removeprefix("s3://").partition("/")[0]

    @property
    def prefix(self) -> str:
        """What stands before every name, without slashes at the ends."""
        return self.url.removeprefix("s3://").partition("/")[2].strip("/")


class Spool(Strict):
    """The bodies, encrypted. A process without `private_keys` can write and not read."""

    folder: Path = Field(
        default=Path("/var/lib/sluis/spool"),
        description="where the bodies lie; with `s3` only for what is too large for memory, until it is there",
    )
    s3: ObjectStore | None = Field(default=None, description="bodies in an object store instead (docs/spool.md)")
    public_key: Path = Field(default=Path("/var/lib/sluis/keys/spool.pub"), description="what new bodies are encrypted to")
    private_keys: Path | None = Field(default=Path("/var/lib/sluis/keys/spool"), description="the folder of private keys, old ones too")
    full_percent: float = Field(default=90, gt=0, lt=100, description="MAIL and RCPT hear 452 when the disk is fuller than this")
    reserve: Octets = Field(default=256 * 1024 * 1024, description="octets that must stay free, whatever the percentage says")
    memory_body: Octets = Field(
        default=256 * 1024, description="octets up to which a body is inspected from memory, without being read back"
    )


class Clamd(Strict):
    """The ClamAV daemon. Policy says whether it must have answered (`inspection.yaml`)."""

    socket: Path | None = Field(default=None, description="its unix socket; without it there is no such inspector")
    connect_timeout: Seconds = Field(default=5, description="seconds to connect")
    deadline: Seconds = Field(default=60, description="seconds for all parts of a message together")
    cache_entries: int = Field(default=100_000, ge=0, description="clean answers that are remembered, by digest and signature database")
    cache_seconds: Seconds = Field(default=3600, description="seconds that an answer is remembered")


class Inspection(Strict):
    """The workers that read hostile bytes, and their limits for each message. Past a limit a message is undecidable: quarantine."""

    workers: int = Field(default=2, ge=1, le=64, description="worker processes")
    # what the strict reader refuses of 25 MB takes 110 MB more, and the relay stays under 400 MB whatever comes (docs/performance.md)
    memory: Octets = Field(default=224 * 1024 * 1024, description="octets of memory for a worker")
    cpu_seconds: int = Field(default=60, ge=1, description="seconds of CPU for a message")
    deadline: Seconds = Field(default=120, description="seconds for a message, then the worker is killed")
    queue: int = Field(default=200, ge=1, description="messages that may wait for a worker; more hear 451")
    # RFC 5321 §4.5.3.2.6: clients wait 10 minutes for the reply to the final dot
    patience: Seconds = Field(default=240, description="seconds to wait for a worker; while it would be more, MAIL hears 451")
    bytes_in_flight: Octets = Field(
        default=32 * 1024 * 1024,
        description="octets of messages over 1 MiB that are inspected at a time, by all workers together; a larger one is inspected alone",
    )
    jobs_per_worker: int = Field(default=1000, ge=1, description="messages after which a worker is replaced")
    rules: Path | None = Field(default=None, description="a folder of more yara-x rules; the embedded ones are always on")
    header_size: Octets = Field(default=256 * 1024, description="octets of a header")
    parts: int = Field(default=1000, ge=1, description="parts of a message")
    depth: int = Field(default=20, ge=1, description="how deep parts are nested")
    archive_members: int = Field(default=10_000, ge=1, description="members in all archives of a message")
    archive_bytes: Octets = Field(default=512 * 1024 * 1024, description="octets unpacked from all archives of a message")
    archive_depth: int = Field(default=4, ge=1, description="how deep archives are nested")
    archive_ratio: int = Field(default=200, ge=2, description="octets unpacked for each octet packed")


class Delivery(Strict):
    """Attempts: the first retries come after the steps of `schedule`, then its last step again until `expiry` (RFC 5321 §4.5.4.1)."""

    hostname: str | None = Field(default=None, description="the name in EHLO, where it is not `hostname`")
    schedule: tuple[Seconds, ...] = Field(
        default=(300, 900, 1800, 3600, 7200), min_length=1, description="seconds before each next attempt"
    )
    expiry: Seconds = Field(default=5 * 24 * 3600, description="seconds after which delivery has failed")
    delay_notice: Seconds = Field(default=4 * 3600, description="seconds after which the sender is told of a delay, once (RFC 3461)")
    parallel: int = Field(default=50, ge=1, description="deliveries at a time")
    lease: Seconds = Field(default=60, description="seconds that a process owns a delivery; if it dies, another takes over then")
    connect_timeout: Seconds = Field(default=30, description="seconds to connect to a next hop")
    command_timeout: Seconds = Field(default=300, description="seconds to wait for a reply")
    # RFC 5321 §4.5.3.2.6: 10 minutes
    data_timeout: Seconds = Field(default=600, description="seconds to wait for the reply to the final dot")
    poll: Seconds = Field(default=1, description="seconds between looks at the queue")
    balance: Seconds = Field(default=300, description="seconds between looks whether the running counts of recipients add up")
    recount: Seconds = Field(default=6 * 3600, description="seconds between counts of every recipient against the running counts")
    # RFC 5321 §6.3 recommends at least 100; differs from RFC 5321 §6.3: because we stand in a short chain
    max_received: int = Field(default=50, ge=10, description="Received fields above which a message runs in a circle")
    resolver: tuple[Address, ...] = Field(default=(), description="name servers, as `192.0.2.53:53`; without any those of the system")


class PolicyRollout(Strict):
    """How policy comes into force (docs/policy.md, "Rolling out"). The first one of an empty store is that of the folder, in any case."""

    source: Literal["approved", "folder", "watched"] = Field(
        default="approved",
        description="`approved`: what was proposed, and approved by another person; the folder is a working copy. `folder`: the folder, at "
        "a start and a reload, on the word of whoever writes it; `watched`: also as soon as it changes, if it loads and its tests pass",
    )
    pattern_percent: float = Field(
        default=5, gt=0, le=100, description="percent of the recipients of 30 days above which a pattern of a list is warned about"
    )
    notices_per_hour: int = Field(
        default=20,
        ge=1,
        le=10_000,
        description="notices of one rule (`notify`) to one address in an hour: a rule may match mail from outside, which anybody can send. "
        "What is held back is told in one notice in the next hour",
    )
    replay_messages: int = Field(
        default=20_000,
        ge=0,
        le=1_000_000,
        description="messages of the last 30 days, the newest, that a proposal is replayed against; 0: none. 20,000 take about a minute",
    )


class Retention(Strict):
    """What may be forgotten, and when. Without numbers all is kept. What waits, and what `sluis message keep` marks, always stays."""

    body_days: int | None = Field(default=None, ge=1, description="days after which the body of a message that is done is erased")
    record_days: int | None = Field(
        default=None,
        ge=1,
        description="days after which message, recipients and what events say of them are erased; ids and commitments of events stay",
    )
    every: Seconds = Field(default=24 * 3600, description="seconds between looks for what may go")


class Control(Strict):
    """The unix socket of the relay. The kernel says who calls: `root` and the relay's own user may do all, members of these unix groups
    what the role may."""

    socket: Path = Field(default=Path("/run/sluis/control.sock"), description="where it lies")
    two_people: bool = Field(
        default=True,
        description="what opens the gates takes a second person; `false` is a single-admin mode, and each event says so",
    )
    review_group: str | None = Field(default=None, description="who may review and release")
    admin_group: str | None = Field(default=None, description="who may set phases and rotate keys")
    audit_group: str | None = Field(default=None, description="who may read the audit")


class Http(Strict):
    """`/metrics`, `/healthy` and `/ready`."""

    address: Address | None = Field(default="127.0.0.1:9125", description="where they are served; it asks for no password")


class Log(Strict):
    """Structured JSON, one object a line, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="`debug`, `info`, `warning` or `error`")


class Settings(Strict):
    """The whole file. Relative paths are relative to the folder of the file."""

    hostname: str = Field(description="our full host name: greeting, Received fields, Message-IDs")
    policies: Path = Field(default=Path("/etc/sluis/policies"), description="the policy folder")
    secrets: Path = Field(default=Path("/etc/sluis/secrets"), description="the folder of passwords for smart hosts; no others may read it")
    dkim_keys: Path = Field(default=Path("/var/lib/sluis/keys/dkim"), description="private DKIM keys, as `<domain>/<selector>.pem`")
    logins: Path | None = Field(default=None, description="`name:argon2-hash` a line, made by `sluis keys login`")
    listeners: tuple[Listener, ...] = Field(default=(), description="the sockets: an array of tables")
    processes: int = Field(
        default=1,
        ge=1,
        le=64,
        description="processes that listen, beside one that delivers; more than one needs PostgreSQL; limits and workers are those of each",
    )
    store: Store = Field(default=Store(), description="the record")
    spool: Spool = Field(default=Spool(), description="the bodies")
    clamd: Clamd = Field(default=Clamd(), description="the ClamAV daemon")
    inspection: Inspection = Field(default=Inspection(), description="the workers and their limits")
    delivery: Delivery = Field(default=Delivery(), description="attempts, times, DNS")
    policy: PolicyRollout = Field(default=PolicyRollout(), description="how policy comes into force")
    retention: Retention = Field(default=Retention(), description="how long bodies and records are kept")
    control: Control = Field(default=Control(), description="the control socket")
    http: Http = Field(default=Http(), description="metrics and health")
    log: Log = Field(default=Log(), description="the log")
