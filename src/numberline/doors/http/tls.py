"""Certificates for the HTTPS doors: a local authority made on first start, or the operator's own files.

The official SDKs speak HTTPS only. A laptop or a CI job trusts ``ca.pem`` once; the server certificate under
it may then change as often as it must. Validity is judged by the machine's own clock, as every TLS peer
judges it; the product's clock has no say here.
"""

import fcntl
import ipaddress
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

ALWAYS_NAMED = ("localhost", "127.0.0.1", "::1")
SERVER_CERTIFICATE_DAYS = 800  # the longest that all platforms take from an authority the user added is 825
RENEW_BEFORE_DAYS = 30


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files to listen with. ``ca`` is what clients must trust; None if the operator has another
    authority.
    """

    ca: Path | None
    certificate: Path
    key: Path


def ensure_certificates(home: Path, names: Sequence[str], *, now: datetime | None = None) -> Certificates:
    """Find or make, in ``home``, a certificate for localhost and ``names`` (hosts, wildcards, addresses).

    The authority is made once and kept. The server certificate is made again when the names differ, when it
    ends within 30 days, or when its files do not fit together. Safe to call from several processes at once.

    Raises ValueError for a name that cannot stand in a certificate and for an authority that is there but
    unusable.
    """
    now = now or datetime.now(UTC)
    wanted = _subject_names(names)
    home.mkdir(parents=True, exist_ok=True)
    files = Certificates(home / "ca.pem", home / "server.pem", home / "server-key.pem")
    with _locked(home / "certificates.lock"):
        ca_file, ca_key_file = home / "ca.pem", home / "ca-key.pem"
        if not ca_file.exists():
            _make_authority(ca_file, ca_key_file)
        if not _is_current(files, ca_file, wanted, now):
            _issue(files, _load_authority(ca_file, ca_key_file, now), wanted, now)
    return files


def own_certificates(certificate: Path, key: Path) -> Certificates:
    """Check the operator's own PEM files: ``certificate`` (with its chain) and the unencrypted ``key``.

    Raises ValueError, a sentence for the operator, if one is unreadable, they do not belong together, or the
    certificate has ended or not begun.
    """
    chain = _load_chain(certificate)
    if not _is_key_of(chain[0], _read(key), key):
        raise ValueError(f"The key in {key} does not belong to the certificate in {certificate}.")
    now, begins_at, ends_at = datetime.now(UTC), chain[0].not_valid_before_utc, chain[0].not_valid_after_utc
    if ends_at <= now:
        raise ValueError(f"The certificate in {certificate} expired on {ends_at:%Y-%m-%d}.")
    if begins_at > now:
        raise ValueError(f"The certificate in {certificate} is not valid before {begins_at:%Y-%m-%d}.")
    return Certificates(None, certificate, key)


def _subject_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names in one spelling, each once: ASCII, lower case, addresses in their shortest form."""
    return tuple(dict.fromkeys(_subject_name(name) for name in (*ALWAYS_NAMED, *names)))


def _subject_name(name: str) -> str:
    text = name.strip().rstrip(".").lower()
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        pass
    try:
        ascii_name = text.encode("idna").decode()
    except UnicodeError:
        ascii_name = ""
    labels = ascii_name.removeprefix("*.").split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{name!r} is neither a host name nor an IP address; no certificate can name it.")
    return ascii_name


_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def _make_authority(ca_file: Path, ca_key_file: Path) -> None:
    authority = trustme.CA(
        organization_name="Numberline",
        organization_unit_name=f"local authority {secrets.token_hex(4)}",
        path_length=0,
    )
    # The certificate last: as long as it is missing, nobody trusts it and both are made anew.
    _write(ca_key_file, authority.private_key_pem.bytes(), mode=0o600)
    _write(ca_file, authority.cert_pem.bytes(), mode=0o644)


def _load_authority(ca_file: Path, ca_key_file: Path, now: datetime) -> trustme.CA:
    """The kept authority. It is never replaced silently, for every client that trusts it would break."""
    certificate, key = _load_chain(ca_file)[0], _read(ca_key_file)
    remedy = f"Restore them from a copy, or remove {ca_file} and let every client trust the new one."
    if not _is_key_of(certificate, key, ca_key_file):
        raise ValueError(f"{ca_file} and {ca_key_file} do not belong together. {remedy}")
    if certificate.not_valid_after_utc <= now:
        raise ValueError(f"The local authority in {ca_file} has expired. {remedy}")
    return trustme.CA.from_pem(_read(ca_file), key)


def _issue(files: Certificates, authority: trustme.CA, wanted: Sequence[str], now: datetime) -> None:
    authority_ends_at = x509.load_pem_x509_certificate(authority.cert_pem.bytes()).not_valid_after_utc
    issued = authority.issue_cert(
        *wanted,
        organization_name="Numberline",
        organization_unit_name="server",
        not_before=now - timedelta(days=1),  # clients' clocks differ
        not_after=min(now + timedelta(days=SERVER_CERTIFICATE_DAYS), authority_ends_at),
    )
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems) + authority.cert_pem.bytes()
    _write(files.key, issued.private_key_pem.bytes(), mode=0o600)
    _write(files.certificate, chain, mode=0o644)


def _is_current(files: Certificates, ca_file: Path, wanted: Sequence[str], now: datetime) -> bool:
    """Whether the server certificate on disk can go on serving; files cut short by a crash are not
    current.
    """
    try:
        certificate = _load_chain(files.certificate)[0]
        named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        certificate.verify_directly_issued_by(_load_chain(ca_file)[0])
        belongs = _is_key_of(certificate, _read(files.key), files.key)
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    names = {str(general_name.value) for general_name in named}
    ends_late_enough = certificate.not_valid_after_utc - now > timedelta(days=RENEW_BEFORE_DAYS)
    return belongs and names == set(wanted) and ends_late_enough


def _load_chain(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path} holds no PEM certificate.") from error


def _is_key_of(certificate: x509.Certificate, key_pem: bytes, key_file: Path) -> bool:
    try:
        key = load_pem_private_key(key_pem, password=None)
    except TypeError as error:
        raise ValueError(f"The key in {key_file} has a passphrase; give one without.") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"{key_file} holds no PEM private key.") from error
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(*form) == certificate.public_key().public_bytes(*form)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from error


def _write(path: Path, data: bytes, *, mode: int) -> None:
    """Replace ``path`` in one step, so that a reader or a crash sees the old file or the new one, whole."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # for its owner only
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, mode)
            file.write(data)
            file.flush()
            os.fsync(handle)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)  # gives the lock back
