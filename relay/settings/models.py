"""The shape of `sluis.toml`: strict; the default is the safe one. Sizes are octets, times are seconds."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from relay.model.client import Side

Seconds = Annotated[float, Field(gt=0)]
Octets = Annotated[int, Field(ge=1)]
Address = Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:.]+\]|[0-9.]+):\d{1,5}$")]
"""`127.0.0.1:25` or `[::1]:25`; port 0 takes a free one."""


class Strict(BaseModel):
    """Frozen; an unknown key is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TlsFiles(Strict):
    """A server certificate chain and its private key (PEM), and the CA that client certificates are checked against."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


class Listener(Strict):
    """A group of sockets that face one side. `proxy_from`, `xclient_from`, `xforward_from` are networks that may use those."""

    name: str
    side: Side
    addresses: tuple[Address, ...] = Field(min_length=1)
    protocol: Literal["smtp", "lmtp"] = "smtp"
    tls: TlsFiles | None = None
    implicit_tls: bool = False
    require_tls: bool = True
    auth: bool = False
    proxy_from: tuple[str, ...] = ()
    xclient_from: tuple[str, ...] = ()
    xforward_from: tuple[str, ...] = ()
    connections: int = Field(default=500, ge=1)
    connections_per_address: int = Field(default=50, ge=1)
    connections_per_minute: int = Field(default=600, ge=1)
    message_size: Octets = 50 * 1024 * 1024
    recipients: int = Field(default=1000, ge=100)  # RFC 5321 §4.5.3.1.8: at least 100
    errors: int = Field(default=10, ge=1)
    commands_without_mail: int = Field(default=100, ge=10)
    command_timeout: Seconds = 300  # RFC 5321 §4.5.3.2.7
    data_timeout: Seconds = 180  # RFC 5321 §4.5.3.2.5, between chunks
    session_timeout: Seconds = 3600


class Store(Strict):
    """`url` is `sqlite:///PATH` or `postgresql+psycopg://…`; the password of PostgreSQL comes from its own password file, never from
    here.
    """

    url: str = "sqlite:////var/lib/sluis/sluis.db"
    batch_messages: int = Field(default=64, ge=1)


class Spool(Strict):
    """The folder of bodies and the key files. A role that has no `private_keys` can write and not read. `full_percent`: RCPT hears 452
    above it.
    """

    folder: Path = Path("/var/lib/sluis/spool")
    public_key: Path = Path("/var/lib/sluis/keys/spool.pub")
    private_keys: Path | None = Path("/var/lib/sluis/keys/spool")
    full_percent: float = Field(default=90, gt=0, lt=100)
    reserve: Octets = 256 * 1024 * 1024
    memory_body: Octets = 256 * 1024


class Clamd(Strict):
    """The unix socket of clamd; None switches the inspector off."""

    socket: Path | None = None
    connect_timeout: Seconds = 5
    deadline: Seconds = 60
    cache_entries: int = Field(default=100_000, ge=0)
    cache_seconds: Seconds = 3600


class Inspection(Strict):
    """The workers that read hostile bytes, and their limits for each message."""

    workers: int = Field(default=2, ge=1, le=64)
    memory: Octets = 1024 * 1024 * 1024
    cpu_seconds: int = Field(default=60, ge=1)
    deadline: Seconds = 120
    queue: int = Field(default=200, ge=1)
    jobs_per_worker: int = Field(default=1000, ge=1)
    rules: Path | None = None  # a folder of more yara-x rules; the embedded ones are always on
    header_size: Octets = 256 * 1024
    parts: int = Field(default=1000, ge=1)
    depth: int = Field(default=20, ge=1)
    archive_members: int = Field(default=10_000, ge=1)
    archive_bytes: Octets = 512 * 1024 * 1024
    archive_depth: int = Field(default=4, ge=1)
    archive_ratio: int = Field(default=200, ge=2)


class Delivery(Strict):
    """Attempts: the first retries come after the steps of `schedule`, then its last step again until `expiry` (RFC 5321 §4.5.4.1)."""

    hostname: str | None = None
    schedule: tuple[Seconds, ...] = (300, 900, 1800, 3600, 7200)
    expiry: Seconds = 5 * 24 * 3600
    delay_notice: Seconds = 4 * 3600
    parallel: int = Field(default=20, ge=1)
    lease: Seconds = 600
    connect_timeout: Seconds = 30
    command_timeout: Seconds = 300
    data_timeout: Seconds = 600  # RFC 5321 §4.5.3.2.6: 10 minutes for the reply to the final dot
    poll: Seconds = 1
    balance: Seconds = 300  # how often all recipients are counted against the running counts
    max_received: int = Field(
        default=50, ge=10
    )  # RFC 5321 §6.3: loop detection, at least 100 recommended for pure relays; we stand in a short chain
    resolver: tuple[Address, ...] = ()  # name servers; empty: those of the system


class Control(Strict):
    """The unix socket of the relay. Who may do what is decided by the kernel's uid of the caller: `root` and the relay's own user may
    do all;
    members of these unix groups may do what the role may."""

    socket: Path = Path("/run/sluis/control.sock")
    two_people: bool = True  # what opens the gates takes a second person; false is a single-admin mode, and each event says so
    review_group: str | None = None
    admin_group: str | None = None
    audit_group: str | None = None


class Http(Strict):
    """`/metrics`, `/healthy`, `/ready`; None switches it off."""

    address: Address | None = "127.0.0.1:9125"


class Log(Strict):
    """Structured JSON, one object a line, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(Strict):
    """The whole file. Relative paths are relative to the folder of the file."""

    hostname: str
    policies: Path = Path("/etc/sluis/policies")
    secrets: Path = Path("/etc/sluis/secrets")
    dkim_keys: Path = Path("/var/lib/sluis/keys/dkim")
    logins: Path | None = None  # `name:argon2-hash` a line, made by `sluis keys login`
    listeners: tuple[Listener, ...] = ()
    store: Store = Store()
    spool: Spool = Spool()
    clamd: Clamd = Clamd()
    inspection: Inspection = Inspection()
    delivery: Delivery = Delivery()
    control: Control = Control()
    http: Http = Http()
    log: Log = Log()
