"""DNS from a dictionary: a Resolver whose answers a test writes down."""

from collections.abc import Sequence

from relay.model.ports import MailExchanger, ResolverTemporaryError


class FakeResolver:
    """`mx_records` by domain, `hosts` by name, `texts` by name, `names` by address; what is in `failing` gives no answer. `asked` keeps
    what was asked."""

    def __init__(
        self,
        mx_records: dict[str, list[tuple[int, str]]] | None = None,
        hosts: dict[str, list[str]] | None = None,
        texts: dict[str, list[bytes]] | None = None,
        failing: set[str] | None = None,
        names: dict[str, list[str]] | None = None,
    ) -> None:
        self.mx_records = mx_records or {}
        self.hosts = hosts or {}
        self.texts = texts or {}
        self.failing = failing or set()
        self.names = names or {}
        self.asked: list[tuple[str, str]] = []

    async def mx(self, domain: str) -> Sequence[MailExchanger]:
        self._ask("MX", domain)
        return [MailExchanger(preference, host) for preference, host in self.mx_records.get(domain, [])]

    async def addresses(self, host: str) -> Sequence[str]:
        self._ask("A", host)
        return self.hosts.get(host, [])

    async def txt(self, name: str) -> Sequence[bytes]:
        self._ask("TXT", name)
        return self.texts.get(name, [])

    async def addresses_of(self, host: str, version: int) -> Sequence[str]:
        self._ask("A" if version == 4 else "AAAA", host)
        return [address for address in self.hosts.get(host, []) if (":" in address) == (version == 6)]

    async def pointers(self, address: str) -> Sequence[str]:
        self._ask("PTR", address)
        return self.names.get(address, [])

    def _ask(self, kind: str, name: str) -> None:
        self.asked.append((kind, name))
        if name in self.failing:
            raise ResolverTemporaryError(f"{kind} {name}: SERVFAIL")
