"""A reconciler over a real ContextForge: its environment, its signing key, and the gateways it wants there."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import httpx
from contract import AUDIT
from raw_servers import http

from reconciler import composition
from reconciler.core.model import DesiredGateway, DesiredState, Gateway, Transport, Visibility
from reconciler.core.planning import Terms
from reconciler.core.problems import Location
from reconciler.core.safety import Limits
from reconciler.core.signatures import signatures
from reconciler.core.signing import Keyring
from reconciler.engine import Engine
from reconciler.signers import find_signer
from reconciler.stores import open_store
from reconciler.stores.contextforge.address import address_of
from reconciler.stores.contextforge.store import ContextForgeStore
from reconciler.stores.contextforge.wire import CALL_SECONDS, Wire

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from live_contextforge import ContextForge
    from raw_servers import Request

    from reconciler.core.model import LiveGateway, Outcome
    from reconciler.core.planning import Plan
    from reconciler.core.ports import Signer, Store
    from reconciler.stores.access import Access

OWNER = "Platform_Team"


def wanted(name: str, url: str, **fields: Any) -> Gateway:
    """Return a public gateway that speaks streamable HTTP."""
    return replace(Gateway(name, url, Transport.STREAMABLE_HTTP, visibility=Visibility.PUBLIC), **fields)


@dataclass
class Site:
    """`environ` has the token and whatever secrets a test puts there; the platform is emptied before and after.

    It may be told not to be: that takes calls too.
    Signatures are made with `signing_key`, by default the one that the platform verifies with; the public keys in
    `trusted` are good as well.
    """

    platform: ContextForge
    environ: dict[str, str] = field(default_factory=dict)
    signing_key: str = ""
    trusted: dict[str, bytes] = field(default_factory=dict)
    emptied: bool = True
    _closing: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        self.environ["RECONCILER_CONTEXTFORGE_TOKEN"] = self.platform.token
        self.api = self._closing.enter_context(self.platform.client())
        if self.emptied:
            self.platform.empty()
            self._closing.callback(self.platform.empty)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    @property
    def signer(self) -> Signer:
        found = find_signer("env:KEY", {"KEY": self.signing_key or self.platform.signing_key})
        assert found is not None
        return found

    def open(self, url: str = "", *, sealing: bool = True) -> Store:
        """Another store over the platform, at `url` if it is reached elsewhere; without `sealing`, it has no key."""
        store = open_store(f"contextforge+{url or self.platform.url}", create=True, access=self.access(sealing=sealing))
        self._closing.callback(store.close)
        return store

    def hurried(self, pauses: list[float], url: str = "", seconds: float = CALL_SECONDS) -> ContextForgeStore:
        """Another store, which notes for how long it would wait instead of waiting, and has `seconds` for a call."""
        access = self.access()
        address = address_of(f"contextforge+{url or self.platform.url}", access)
        store = ContextForgeStore(Wire(address, seconds=seconds, sleep=pauses.append), access)
        self._closing.callback(store.close)
        return store

    def access(self, *, sealing: bool = True) -> Access:
        return composition.access(self.environ, self.signer if sealing else None)

    @cached_property
    def store(self) -> Store:
        return self.open()

    def plan(self, *gateways: Gateway, **how: Any) -> Plan:
        """Return what would be done for the platform to have these gateways and no others of ours."""
        return self.engine(**how).plan(_desired(gateways))

    def apply(self, *gateways: Gateway, **how: Any) -> tuple[Outcome, ...]:
        """Make it so."""
        engine, desired = self.engine(**how), _desired(gateways)
        return engine.apply(engine.plan(desired), desired, AUDIT, None).outcomes

    def applied(self, *gateways: Gateway) -> None:
        """Make it so, and see that nothing is left to do."""
        outcomes = self.apply(*gateways)
        failed = [(each.name, each.reason) for each in outcomes if each.status != "applied"]
        assert failed == [], failed
        assert self.plan(*gateways).in_sync

    def engine(self, *, store: Store | None = None, adopt: frozenset[str] = frozenset()) -> Engine:
        keyring = Keyring.of_raw({"test": self.signer.public_key, **self.trusted})
        terms = Terms(OWNER, prune=True, adopt=adopt)
        signs = signatures(self.signer, keyring)
        return Engine(
            store or self.store,
            "contextforge+https",
            signs,
            keyring,
            terms,
            Limits(min_existing=1000, allow_empty=True),
        )

    def live(self, name: str) -> LiveGateway:
        return self.store.read().gateways[name]

    def row(self, name: str) -> Any:
        """The row as the API shows it."""
        (row,) = (each for each in self.rows() if each["name"] == name)
        return row

    def rows(self) -> list[Any]:
        answer = self.api.get("/v1/gateways", params={"limit": 0, "include_inactive": True})
        rows: list[Any] = answer.raise_for_status().json()
        return rows

    def put(self, name: str, **fields: Any) -> httpx.Response:
        """Change a gateway behind the reconciler's back."""
        return self.api.put(f"/v1/gateways/{self.row(name)['id']}", json=fields).raise_for_status()

    def post(self, url: str, **fields: Any) -> Any:
        """Create a gateway behind the reconciler's back."""
        spec = {"url": url, "transport": "STREAMABLEHTTP", "visibility": "public", **fields}
        return self.api.post("/v1/gateways", json=spec).raise_for_status().json()

    def call(self, tool: str) -> Any:
        """The answer of JSON-RPC to a call of `GATEWAY-TOOL`: a `result` or an `error`."""
        params = {"name": tool, "arguments": {}}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        return self.api.post("/rpc", json=message).raise_for_status().json()


@dataclass
class Front:
    """Passes calls on to a platform, as a `RawServer` that speaks HTTP. `calls` is what came, as `METHOD PATH`.

    `instead` may answer before the platform is asked, `altered` replaces what it answered; nothing at all hangs up.
    """

    platform: ContextForge
    instead: Callable[[Request], bytes | None] = lambda _request: None
    altered: Callable[[Request, httpx.Response], bytes] = lambda _request, answer: passed_on(answer)
    calls: list[str] = field(default_factory=list)

    def __call__(self, request: Request) -> bytes:
        self.calls.append(f"{request.method} {request.path.partition('?')[0]}")
        if (answer := self.instead(request)) is not None:
            return answer
        headers = {name: value for name, value in request.headers.items() if name not in ("host", "content-length")}
        url = f"{self.platform.url}{request.path}"
        with httpx.Client(trust_env=False, timeout=60) as client:
            return self.altered(request, client.request(request.method, url, content=request.body, headers=headers))


def passed_on(answer: httpx.Response) -> bytes:
    """An answer as it was, without the headers that nobody here looks at."""
    return http(answer.status_code, answer.content)


def _desired(gateways: tuple[Gateway, ...]) -> DesiredState:
    return DesiredState(
        {each.name: DesiredGateway(each, Location(f"gateways/{each.name}.yaml")) for each in gateways},
        revision="main@sha1:1111",
    )
