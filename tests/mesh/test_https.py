"""HTTPS on the laptop: `TLS=1 make run`."""

import ssl
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from deploy.local import certificates
from tests.local_mesh import Mesh, make


def test_with_tls_all_commands_speak_https(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path, TLS="1").wait_ready()
    url = mesh.url.replace("http:", "https:")
    verify = ssl.create_default_context(cafile=str(tmp_path / "data/tls/ca.pem"))
    with httpx.Client(base_url=url, verify=verify, trust_env=False) as client:
        assert client.get("/api/currentUser").status_code == 200
    redirected = httpx.get(f"{mesh.url}/?page=2", trust_env=False)
    assert (redirected.status_code, redirected.headers["location"]) == (307, f"{url}/?page=2")
    assert f"`make run` at {url}" in make(tmp_path, "status").stdout
    sent = make(tmp_path, "traffic", "DURATION=2s")
    assert sent.returncode == 0, sent.stdout
    # A lesson replaces other parts, and its reset keeps HTTPS.
    for command in (("lesson", "N=1"), ("lesson-reset",)):
        assert make(tmp_path, *command).returncode == 0
    assert f"`make run` at {url}" in make(tmp_path, "status").stdout
    assert mesh.interrupt() == 0


def test_the_ca_is_kept_and_can_sign_for_this_machine_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    certificates.make()
    first = certificates.CA.read_bytes()
    certificates.make()
    assert certificates.CA.read_bytes() == first
    constraints = x509.load_pem_x509_certificate(first).extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    for key in certificates.FOLDER.glob("*.key"):
        assert key.stat().st_mode & 0o777 == 0o600, key
    certificates.CA.write_bytes(b"broken")
    certificates.make()
    assert certificates.CA.read_bytes().startswith(b"-----BEGIN CERTIFICATE")
