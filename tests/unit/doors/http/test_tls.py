"""Certificates: made once, made again when they must be, and never half-written."""

import os
import socket
import ssl
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from numberline.doors.http.tls import Certificates, ensure_certificates, own_certificates


def names_in(certificate: Path) -> set[str]:
    loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
    return {
        str(name.value)
        for name in loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    }


def shake_hands(certificates: Certificates, name: str) -> str | None:
    """The TLS version a client that trusts only ``certificates.ca`` agrees on with a server using them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key)
    trust = ssl.create_default_context(cafile=str(certificates.ca))
    trust.verify_flags |= ssl.VERIFY_X509_STRICT  # Python 3.13 sets it by itself
    ours, theirs = socket.socketpair()

    def answer() -> None:
        try:
            context.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        with trust.wrap_socket(ours, server_hostname=name) as client:
            return client.version()
    finally:
        ours.close()
        thread.join()


def test_the_first_call_makes_files_that_work(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"
    made = ensure_certificates(home, ["Numbers.Example.", "10.1.2.3", "*.lab.example", "bücher.example"])
    assert made == Certificates(home / "ca.pem", home / "server.pem", home / "server-key.pem")
    modes = {path.name: path.stat().st_mode & 0o777 for path in home.iterdir()}
    assert modes["ca-key.pem"] == modes["server-key.pem"] == 0o600
    assert modes["ca.pem"] == modes["server.pem"] == 0o644
    assert names_in(made.certificate) == {
        "localhost",
        "127.0.0.1",
        "::1",
        "numbers.example",
        "10.1.2.3",
        "*.lab.example",
        "xn--bcher-kva.example",
    }
    assert made.certificate.read_bytes().endswith((home / "ca.pem").read_bytes())
    for name in ("localhost", "127.0.0.1", "::1", "numbers.example", "a.lab.example"):
        assert shake_hands(made, name) is not None
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(made, "elsewhere.example")


def test_a_later_call_changes_nothing(tmp_path: Path) -> None:
    first = ensure_certificates(tmp_path, ["a.example", "b.example"])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert ensure_certificates(tmp_path, ["B.example", "a.example", "localhost"]) == first
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_other_names_make_another_certificate_under_the_same_authority(tmp_path: Path) -> None:
    made = ensure_certificates(tmp_path, ["a.example"])
    authority, certificate = (tmp_path / "ca.pem").read_bytes(), made.certificate.read_bytes()
    ensure_certificates(tmp_path, ["b.example"])
    assert (tmp_path / "ca.pem").read_bytes() == authority
    assert made.certificate.read_bytes() != certificate
    assert "a.example" not in names_in(made.certificate)
    assert shake_hands(made, "b.example") is not None


def test_a_certificate_about_to_end_is_made_again(tmp_path: Path) -> None:
    made = ensure_certificates(tmp_path, [])
    ends_at = x509.load_pem_x509_certificate(made.certificate.read_bytes()).not_valid_after_utc
    before = made.certificate.read_bytes()
    ensure_certificates(tmp_path, [], now=ends_at - timedelta(days=31))
    assert made.certificate.read_bytes() == before
    ensure_certificates(tmp_path, [], now=ends_at - timedelta(days=29))
    assert made.certificate.read_bytes() != before


@pytest.mark.parametrize("spoilt", ["server.pem", "server-key.pem"])
@pytest.mark.parametrize("how", ["gone", "empty", "cut", "other"])
def test_spoilt_server_files_are_made_again(tmp_path: Path, spoilt: str, how: str) -> None:
    made = ensure_certificates(tmp_path, [])
    path = tmp_path / spoilt
    other = ensure_certificates(tmp_path / "other", [])
    content = {
        "gone": None,
        "empty": b"",
        "cut": path.read_bytes()[:100],
        "other": (other.key.parent / spoilt).read_bytes(),
    }
    path.unlink()
    if (data := content[how]) is not None:
        path.write_bytes(data)
    ensure_certificates(tmp_path, [])
    assert shake_hands(made, "localhost") is not None
    assert made.key.stat().st_mode & 0o777 == 0o600


def test_the_authoritys_key_may_be_taken_away_while_nothing_needs_signing(tmp_path: Path) -> None:
    ensure_certificates(tmp_path, [])
    (tmp_path / "ca-key.pem").unlink()
    ensure_certificates(tmp_path, [])
    with pytest.raises(ValueError, match=r"ca-key\.pem cannot be read: No such file"):
        ensure_certificates(tmp_path, ["a.example"])


def test_an_unusable_authority_is_reported_and_never_replaced(tmp_path: Path) -> None:
    ensure_certificates(tmp_path, [])
    authority = (tmp_path / "ca.pem").read_bytes()
    ensure_certificates(tmp_path / "other", [])
    (tmp_path / "ca-key.pem").write_bytes((tmp_path / "other" / "ca-key.pem").read_bytes())
    with pytest.raises(ValueError, match="do not belong together"):
        ensure_certificates(tmp_path, ["a.example"])
    assert (tmp_path / "ca.pem").read_bytes() == authority
    with pytest.raises(ValueError, match="has expired"):
        ensure_certificates(tmp_path / "other", [], now=datetime(3001, 1, 1, tzinfo=UTC))


def test_a_start_cut_off_before_the_authority_was_whole_starts_again(tmp_path: Path) -> None:
    (tmp_path / "ca-key.pem").write_bytes(b"half")
    assert shake_hands(ensure_certificates(tmp_path, []), "localhost") is not None


@pytest.mark.parametrize(
    "name", ["", "a b", "http://a", "a/b", "-a", "a..b", "me@a.example", "10.0.0.0/8", "a" * 64]
)
def test_a_name_that_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="neither a host name nor an IP address"):
        ensure_certificates(tmp_path, [name])


def test_first_starts_at_the_same_time_agree(tmp_path: Path) -> None:
    start = (
        "import sys, pathlib; from numberline.doors.http.tls import ensure_certificates;"
        "ensure_certificates(pathlib.Path(sys.argv[1]), ['a.example'])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    starts = [subprocess.Popen([sys.executable, "-c", start, tmp_path], env=environment) for _ in range(6)]
    assert [process.wait() for process in starts] == [0] * 6
    assert shake_hands(ensure_certificates(tmp_path, ["a.example"]), "a.example") is not None
    assert {path.name for path in tmp_path.iterdir()} == {
        "ca.pem",
        "ca-key.pem",
        "server.pem",
        "server-key.pem",
        "certificates.lock",
    }


# The operator's own files.


@pytest.fixture
def own(tmp_path: Path) -> tuple[Path, Path]:
    return issue(tmp_path)


def issue(home: Path, begins_in_days: int = -1, ends_in_days: int = 90) -> tuple[Path, Path]:
    now = datetime.now(UTC)
    issued = trustme.CA().issue_cert(
        "a.example",
        not_before=now + timedelta(days=begins_in_days),
        not_after=now + timedelta(days=ends_in_days),
    )
    certificate, key = home / "own.pem", home / "own-key.pem"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return certificate, key


def test_own_files_that_fit_are_taken(own: tuple[Path, Path]) -> None:
    assert own_certificates(*own) == Certificates(None, *own)


def test_own_files_that_do_not_fit_are_refused_in_a_sentence(own: tuple[Path, Path], tmp_path: Path) -> None:
    certificate, key = own
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(ValueError, match=r"The key in .* does not belong to the certificate in .*\."):
        own_certificates(certificate, issue(other)[1])
    with pytest.raises(ValueError, match=r"nowhere\.pem cannot be read: No such file or directory\."):
        own_certificates(tmp_path / "nowhere.pem", key)
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        own_certificates(certificate, tmp_path)
    with pytest.raises(ValueError, match=r"own-key\.pem holds no PEM certificate"):
        own_certificates(key, key)
    with pytest.raises(ValueError, match=r"own\.pem holds no PEM private key"):
        own_certificates(certificate, certificate)
    with pytest.raises(ValueError, match="expired on "):
        own_certificates(*issue(other, begins_in_days=-9, ends_in_days=-2))
    with pytest.raises(ValueError, match="not valid before "):
        own_certificates(*issue(other, begins_in_days=2))


def test_a_key_with_a_passphrase_is_refused(own: tuple[Path, Path]) -> None:
    certificate, key = own
    loaded = load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
    with pytest.raises(ValueError, match="has a passphrase"):
        own_certificates(certificate, key)
