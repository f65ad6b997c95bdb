"""How a PostgreSQL database is reached: what may stand in a URL, who lets us in, and whom we believe."""

from __future__ import annotations

import select
import socket
import ssl
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import InputError, StoreError
from reconciler.postgresql.address import CA_FILE, PASSWORD, PASSWORD_FILE, address_of
from reconciler.postgresql.session import connect, errors_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from live_postgresql import PostgreSQL
    from raw_servers import RawServer

    from reconciler.demo.pki import Authority

SECRET = "hunter2-correct-horse"  # noqa: S105 - what must not be seen


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"postgresql://role:{SECRET}@host/database", "has a password"),
        (f"postgresql://role@host/database?password={SECRET}", "has a password"),
        (f"postgresql://host/database?passfile={SECRET}", "options that are not known: passfile"),
        (f"postgresql://host/database?options=-c%20x={SECRET}", "options that are not known: options"),
        (f"postgresql://host/database?{SECRET}", "not `name=value`"),
        (f"postgresql://host/%zz{SECRET}", "can read"),
        (f"postgresql://host/database?schema={SECRET}!", "a schema that is none"),
    ],
)
def test_a_url_that_is_refused_is_not_repeated(url: str, why: str) -> None:
    with pytest.raises(InputError, match=why) as refusal:
        address_of(url, {})
    assert SECRET not in f"{refusal.value} {refusal.value.fix}"
    assert refusal.value.exit_code == 3


def test_nothing_of_an_address_is_shown_but_where_it_is() -> None:
    address = address_of("postgresql://role@db.example:5433/gateways?schema=blue", {PASSWORD: SECRET})
    assert address.shown == "the database gateways at db.example:5433, schema blue"
    assert SECRET not in repr(address)


@pytest.mark.parametrize(
    ("url", "environ", "mode", "ca"),
    [
        ("postgresql://db.example/x", {}, "verify-full", "system"),
        ("postgresql://db.example/x?sslmode=require", {}, "require", None),
        ("postgresql://db.example/x", {"PGSSLMODE": "verify-ca"}, "verify-ca", None),
        ("postgresql://localhost/x", {}, "prefer", None),
        ("postgresql:///x?host=/run/postgresql", {}, "prefer", None),
        ("postgresql://localhost,db.example/x", {}, "verify-full", "system"),
        ("postgresql://db.example/x?sslrootcert=/ca.pem", {}, "verify-full", "/ca.pem"),
    ],
)
def test_a_server_elsewhere_must_prove_who_it_is(url: str, environ: Mapping[str, str], mode: str, ca: str) -> None:
    parameters = address_of(url, environ).parameters
    assert (parameters["sslmode"], parameters.get("sslrootcert")) == (mode, ca)


def test_a_ca_file_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match=r"the CA file /nowhere/ca\.pem is not there"):
        address_of("postgresql://db.example/x", {CA_FILE: "/nowhere/ca.pem"})


def let_in(url: str, environ: Mapping[str, str]) -> str:
    address = address_of(url, environ)
    with errors_of(address.shown), closing(connect(address)) as session:
        ((role,),) = session.execute("SELECT current_user").fetchall()
    return str(role)


def test_the_password_comes_from_the_environment_or_a_file(postgresql: PostgreSQL, tmp_path: Path) -> None:
    kept = tmp_path / "password"
    kept.write_text(f"{postgresql.password}\n")
    pass_file = tmp_path / "pgpass"
    pass_file.write_text(f"127.0.0.1:*:*:tester:{postgresql.password}\n")
    pass_file.chmod(0o600)
    for environ in (
        {PASSWORD: postgresql.password},
        {PASSWORD_FILE: str(kept)},
        {"PGPASSWORD": postgresql.password},
        {"PGPASSFILE": str(pass_file)},
    ):
        assert let_in(postgresql.url(), environ) == "tester"


def test_a_wrong_password_is_explained_and_not_repeated(postgresql: PostgreSQL) -> None:
    with pytest.raises(StoreError, match=r"cannot be reached: .*password authentication failed") as refusal:
        let_in(postgresql.url(), {PASSWORD: SECRET})
    assert PASSWORD_FILE in refusal.value.fix
    assert SECRET not in f"{refusal.value} {refusal.value.fix}"


def test_a_password_file_that_cannot_be_read_is_named(postgresql: PostgreSQL, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the password file .*/missing cannot be read"):
        let_in(postgresql.url(), {PASSWORD_FILE: str(tmp_path / "missing")})


def test_a_database_that_is_not_there_is_explained(postgresql: PostgreSQL) -> None:
    with pytest.raises(StoreError, match='database "absent" does not exist') as refusal:
        let_in(postgresql.url().replace("/postgres", "/absent"), {PASSWORD: postgresql.password})
    assert "create the database" in refusal.value.fix


def test_a_server_that_is_not_there_is_explained() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"postgresql://role@127.0.0.1:{reserved.getsockname()[1]}/x"
        with pytest.raises(StoreError, match=r"cannot be reached: .*refused") as refusal:
            let_in(url, {})
    assert "check that the server is up" in refusal.value.fix


def test_a_server_that_never_answers_is_given_up(serve: Callable[..., RawServer]) -> None:
    server = serve(lambda connection: connection.recv(1 << 16) and connection.recv(1))
    with pytest.raises(StoreError, match="cannot be reached"):
        let_in(f"postgresql://role@127.0.0.1:{server.port}/x?connect_timeout=2&sslmode=disable", {PASSWORD: "x"})


class TestPrivateCa:
    """In front of the server, which has no TLS in this build, stands what a TLS-terminating proxy does."""

    @pytest.fixture
    def behind_tls(
        self, postgresql: PostgreSQL, root: Authority, serve: Callable[..., RawServer], tmp_path: Path
    ) -> str:
        identity = root.issue_server(["localhost"])
        chain = tmp_path / "server.pem"
        chain.write_text(f"{identity.certificate_pem}\n{identity.key_pem}\n")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        context.set_alpn_protocols(["postgresql"])

        def terminate(connection: socket.socket) -> None:
            assert connection.recv(8) == b"\0\0\0\x08\x04\xd2\x16\x2f"  # SSLRequest
            connection.sendall(b"S")
            with (
                suppress(OSError),
                context.wrap_socket(connection, server_side=True) as client,
                socket.create_connection(("127.0.0.1", postgresql.port)) as server,
            ):
                relay(client, server)

        return f"postgresql://tester@localhost:{serve(terminate).port}/postgres"

    def test_one_who_is_signed_by_it_is_believed(
        self, behind_tls: str, postgresql: PostgreSQL, root: Authority, tmp_path: Path
    ) -> None:
        ca = tmp_path / "ca.pem"
        ca.write_text(root.pem)
        environ = {PASSWORD: postgresql.password, CA_FILE: str(ca)}
        assert let_in(f"{behind_tls}?sslmode=verify-full", environ) == "tester"

    def test_one_who_is_signed_by_another_is_not(
        self, behind_tls: str, postgresql: PostgreSQL, issuing: Authority, tmp_path: Path
    ) -> None:
        ca = tmp_path / "ca.pem"
        ca.write_text(issuing.pem)
        with pytest.raises(StoreError, match="certificate verify failed") as refusal:
            let_in(f"{behind_tls}?sslmode=verify-full", {PASSWORD: postgresql.password, CA_FILE: str(ca)})
        assert CA_FILE in refusal.value.fix

    def test_nor_one_who_has_another_name(
        self, behind_tls: str, postgresql: PostgreSQL, root: Authority, tmp_path: Path
    ) -> None:
        ca = tmp_path / "ca.pem"
        ca.write_text(root.pem)
        url = behind_tls.replace("localhost", "127.0.0.1")
        with pytest.raises(StoreError, match="does not match"):
            let_in(f"{url}?sslmode=verify-full", {PASSWORD: postgresql.password, CA_FILE: str(ca)})


def relay(one: ssl.SSLSocket, other: socket.socket) -> None:
    """Carry bytes both ways until either side ends."""
    while True:
        ready = [one] if one.pending() else select.select([one, other], [], [])[0]
        for source in ready:
            data = source.recv(1 << 16)
            if not data:
                return
            (other if source is one else one).sendall(data)
