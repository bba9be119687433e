"""A private Ceph with its S3 gateway: monitor, one object daemon that keeps everything in memory, and `radosgw`, as hospitals and
universities run it for real. It starts in two seconds, without a manager and without the system's own configuration.

    with running() as server:            # one for each pytest process: the fixtures of tests/conftest.py do this
        settings = server.new_bucket()   # settings of a bucket that nobody else uses

Keys are thrown away with it. `stop` and `start` are of the gateway: what was written stays.
"""

import hashlib
import hmac
import itertools
import json
import os
import secrets
import signal
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from obstore.store import S3Store

from relay.settings.models import ObjectStore
from tests.servers.certificates import issue, make_ca
from tests.servers.daemon import POLL_SECONDS, START_SECONDS, STOP_SECONDS, ServerFailed, new_home_in_memory, remove_home
from tests.servers.ports import free_port

_START_TRIES = 3  # somebody else may take a free port between its choice and its use
_CONFIGURATION = """\
[global]
fsid = {fsid}
mon_host = v2:{monitor}
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
keyring = {home}/keyring
run_dir = {home}
admin_socket =
log_file = {home}/$name.log
pid_file =
crash_dir = {home}
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
[mon]
mon_data = {home}/mon
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
ms_bind_msgr1 = false
paxos_propose_interval = 0.02
paxos_min_wait = 0.01
[osd]
osd_data = {home}/osd
osd_objectstore = memstore
memstore_device_bytes = 4294967296
[client.admin]
rgw_frontends = beast endpoint={plain} ssl_endpoint={tls} ssl_certificate={certificate} ssl_private_key={key} tcp_nodelay=1
rgw_data = {home}/rgw
rgw_thread_pool_size = 32
rgw_enable_usage_log = false
rgw_s3_auth_use_keystone = false
"""


class Ceph:
    """A running server. `endpoint` and `tls_endpoint` are where its gateway answers; `ca` signs the certificate of the second."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._numbers = itertools.count(1)
        self.access_key, self.secret_key = f"AK{secrets.token_hex(9).upper()}", secrets.token_hex(20)
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._gateway: subprocess.Popen[bytes] | None = None
        self._monitor, plain, tls = (f"127.0.0.1:{free_port()}" for _ in range(3))
        self.endpoint, self.tls_endpoint = f"http://{plain}", f"https://{tls}"
        authority = make_ca(home / "ca")
        self.ca = authority.certificate
        certificate, key = issue(authority, ["localhost"], ["127.0.0.1"])
        self._fsid = str(uuid.uuid4())
        text = _CONFIGURATION.format(
            fsid=self._fsid, monitor=self._monitor, home=home, plain=plain, tls=tls, certificate=certificate, key=key
        )
        (home / "ceph.conf").write_text(text)

    # the cluster

    def begin(self) -> None:
        """Monitor, object daemon, a user, gateway. Raises ServerFailed."""
        keyring = self.home / "keyring"
        self._run("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        self._run("ceph-authtool", keyring, "--gen-key", "-n", "client.admin", "--cap", "mon", "allow *", "--cap", "osd", "allow *")
        self._run("monmaptool", "--create", "--fsid", self._fsid, "--addv", "a", f"[v2:{self._monitor}]", self.home / "monmap")
        for folder in ("mon", "osd", "rgw"):
            (self.home / folder).mkdir()
        self._run("ceph-mon", "-i", "a", "--mkfs", "--monmap", self.home / "monmap", "--keyring", keyring)
        self._daemons.append(self._daemon("ceph-mon", "-i", "a", "-f"))
        self._begin_osd()
        words = ["--uid=sluis", "--display-name=sluis", f"--access-key={self.access_key}", f"--secret-key={self.secret_key}"]
        self._run("radosgw-admin", "user", "create", *words)
        self.start()

    def _begin_osd(self) -> None:
        identity = str(uuid.uuid4())
        key = self._run("ceph-authtool", "--gen-print-key").strip()
        secret = self.home / "osd.json"
        secret.write_text(json.dumps({"cephx_secret": key}))
        self._run("ceph", "--connect-timeout", "20", "osd", "new", identity, "-i", secret)
        keyring = self.home / "osd" / "keyring"
        keyring.write_text(f"[osd.0]\nkey = {key}\n")
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", identity, "--keyring", keyring)
        self._daemons.append(self._daemon("ceph-osd", "-i", "0", "-f", "--keyring", keyring))
        self._until(lambda: "1 up" in self._run("ceph", "osd", "stat"), "the object daemon")

    def start(self) -> None:
        """The gateway; returns when it answers."""
        self._gateway = self._daemon("radosgw", "-n", "client.admin", "-f")
        self._until(self._answers, "the gateway")

    def stop(self) -> None:
        """The gateway: nobody listens then."""
        if self._gateway is not None:
            _end(self._gateway)
            self._gateway = None

    def signal(self, number: signal.Signals) -> None:
        """To the gateway: SIGSTOP makes it hang, SIGCONT goes on."""
        assert self._gateway is not None
        self._gateway.send_signal(number)

    def end(self) -> None:
        """All of it."""
        self.stop()
        for daemon in reversed(self._daemons):
            daemon.kill()  # what it holds is in memory, and is thrown away
            daemon.wait()

    def _answers(self) -> bool:
        assert self._gateway is not None
        if self._gateway.poll() is not None:
            raise ServerFailed(self._logged())
        try:
            with urllib.request.urlopen(self.endpoint, timeout=5):
                return True
        except OSError:
            return False

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            if time.monotonic() > deadline or any(daemon.poll() is not None for daemon in self._daemons):
                raise ServerFailed(f"{what} did not start: {self._logged()}")
            time.sleep(POLL_SECONDS)

    def _logged(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-1000:] for path in sorted(self.home.glob("*.out")))

    def _run(self, *words: str | Path) -> str:
        command = [*words, "-c", self.home / "ceph.conf"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.home)
        if done.returncode != 0:
            raise ServerFailed(f"{words[0]}: {done.stdout[-500:]}{done.stderr[-1500:]}{self._logged()}")
        return done.stdout

    def _daemon(self, *words: str | Path) -> "subprocess.Popen[bytes]":
        """Ended by the kernel if the tests are killed."""
        with (self.home / f"{words[0]}.out").open("ab") as output:
            command = ["setpriv", "--pdeathsig", "KILL", *map(str, words), "-c", str(self.home / "ceph.conf")]
            return subprocess.Popen(command, cwd=self.home, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    # what tests use

    def new_bucket(self, folder: Path, prefix: str = "relay/one") -> ObjectStore:
        """Settings of an empty bucket; the credentials lie in `folder`."""
        settings = self.settings(f"sluis-{os.getpid()}-{next(self._numbers)}", folder, prefix)
        self._put(settings.bucket, "", b"")
        return settings

    def keep_versions(self, settings: ObjectStore) -> None:
        """Switches versioning on for a bucket."""
        body = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
        self._put(settings.bucket, "versioning=", body.encode())

    def _put(self, bucket: str, query: str, body: bytes) -> None:
        """What obstore has no word for, signed by hand (AWS Signature Version 4)."""
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{moment[:8]}/us-east-1/s3/aws4_request"
        digest, host = hashlib.sha256(body).hexdigest(), self.endpoint.removeprefix("http://")
        signed = "host;x-amz-content-sha256;x-amz-date"
        asked = f"PUT\n/{bucket}\n{query}\nhost:{host}\nx-amz-content-sha256:{digest}\nx-amz-date:{moment}\n\n{signed}\n{digest}"
        text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(asked.encode()).hexdigest()}"
        key = f"AWS4{self.secret_key}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        headers = {
            "x-amz-content-sha256": digest,
            "x-amz-date": moment,
            "Authorization": f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, SignedHeaders={signed}, Signature={signature}",
        }
        url = f"{self.endpoint}/{bucket}" + (f"?{query}" if query else "")
        with urllib.request.urlopen(urllib.request.Request(url, body, headers, method="PUT")) as answer:
            assert answer.status == 200

    def settings(self, bucket: str, folder: Path, prefix: str = "relay/one") -> ObjectStore:
        """Settings that reach a bucket, which need not be there. `folder` gets the credentials."""
        folder.mkdir(exist_ok=True)
        credentials = folder / "s3-credentials"
        credentials.write_text(f"[default]\naws_access_key_id = {self.access_key}\naws_secret_access_key = {self.secret_key}\n")
        credentials.chmod(0o600)
        return ObjectStore(
            url=f"s3://{bucket}/{prefix}",
            endpoint=self.endpoint,
            credentials=credentials,
            deadline=10,
        )

    def client(self, bucket: str) -> S3Store:
        """The bucket as the tests look into it, beside the spool."""
        return S3Store(
            bucket,
            endpoint=self.endpoint,
            access_key_id=self.access_key,
            secret_access_key=self.secret_key,
            region="us-east-1",
            client_options={"allow_http": True},
        )


@contextmanager
def running() -> Iterator[Ceph]:
    """Makes one, starts it, and takes all of it away afterwards. Raises ServerFailed."""
    for attempt in range(_START_TRIES):
        home = new_home_in_memory("ceph")
        server = Ceph(home)
        try:
            try:
                server.begin()
            except ServerFailed:
                if attempt == _START_TRIES - 1:
                    raise
                continue
            yield server
            return
        finally:
            server.end()
            with suppress(FileNotFoundError):
                remove_home(home)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
