"""HTTPS on the laptop: `TLS=1 make run`."""

import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from deploy.local import authority, certificates
from tests.local_mesh import Mesh, make


def test_with_tls_all_commands_speak_https(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path, TLS="1").wait_ready()
    url = mesh.url.replace("http:", "https:")
    verify = ssl.create_default_context(cafile=str(tmp_path / "data/tls/ca.pem"))
    with httpx.Client(base_url=url, verify=verify, trust_env=False) as client:
        assert client.get("/api/currentUser").status_code == 200
        # Through a proxy with TLS in front (docs/in-front.md).
        origin = {"host": "todo.example", "origin": "https://todo.example"}
        account = {"userName": "in-front", "password": "a good password"}
        registered = client.post("/user/register", json=account, headers=origin)
        assert registered.status_code == 201
        assert "; Secure" in registered.headers["set-cookie"]
    redirected = httpx.get(f"{mesh.url}/?page=2", trust_env=False)
    assert (redirected.status_code, redirected.headers["location"]) == (307, f"{url}/?page=2")
    sent = make(tmp_path, "traffic", "DURATION=1s")
    assert sent.returncode == 0, sent.stdout
    # Only what it uses.
    assert {path.name for path in (tmp_path / "data/tls").iterdir()} == {
        f"{name}.{kind}" for name in ("ca", "ingress") for kind in ("key", "pem")
    }
    # The people of lesson 18.
    reads = (sys.executable, "lessons/18-release/reads.py", url, "0.2", (tmp_path / "data/tls/ca.pem").read_text())
    assert subprocess.run(reads, cwd=tmp_path, capture_output=True, text=True, check=True).stdout == "0\n"
    # A lesson replaces other parts, and its reset keeps HTTPS.
    for command in (("lesson", "N=3"), ("lesson-reset",)):
        assert make(tmp_path, *command).returncode == 0
    assert f"`make run` at {url}" in make(tmp_path, "status").stdout
    assert mesh.interrupt() == 0


def test_the_ca_is_kept_and_can_sign_for_this_machine_and_inside_a_cluster_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    authority.make()
    first = certificates.CA.read_bytes()
    authority.make_bad()
    authority.make(["ingress-istio.shop.svc.cluster.local"], name="cluster")
    assert certificates.CA.read_bytes() == first
    constraints = x509.load_pem_x509_certificate(first).extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    for key in certificates.FOLDER.glob("*.key"):
        assert key.stat().st_mode & 0o777 == 0o600, key
    assert accepts("cluster", "ingress-istio.shop.svc.cluster.local")
    assert accepts("cluster", "localhost")
    authority.make(["bank.example"], name="bank")
    assert not accepts("bank", "bank.example")
    certificates.CA.write_bytes(b"broken")
    authority.make()
    assert certificates.CA.read_bytes().startswith(b"-----BEGIN CERTIFICATE")


def accepts(name: str, host: str) -> bool:
    """Say whether a client that trusts the CA accepts a certificate for a host: a handshake in memory."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=str(certificates.CA))
    server.load_cert_chain(certificates.FOLDER / f"{name}.pem", certificates.FOLDER / f"{name}.key")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    done = set[int]()
    while len(done) < len(ends):
        for number, end in enumerate(ends):
            try:
                end.do_handshake()
                done.add(number)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError:
                return False
    return True
