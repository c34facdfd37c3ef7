"""The authorities whose certificates are trusted: the system's, as Go's programs such as viam-server find them.

| where | what is read |
|---|---|
| SSL_CERT_FILE | this file, in place of the first of `FILES` that is there |
| SSL_CERT_DIR, with `:` between several | all files in these folders, in place of `FOLDERS` |
| GRPC_DEFAULT_SSL_ROOTS_FILE_PATH | this file alone, where none of the other two is set |

What is no certificate is passed over. When nothing is found, the roots that grpcio contains are trusted.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from ...base.words import shown

_GRPC, _FILE, _FOLDERS = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"
VARIABLES = (_GRPC, _FILE, _FOLDERS)
"""The variables that are read here."""
FILES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # RHEL
    "/etc/ssl/cert.pem",  # Alpine
)
FOLDERS = ("/etc/ssl/certs", "/etc/pki/tls/certs")
_MOST_BYTES = 16 * 1024 * 1024
"""What is read of one file; the largest known bundles have less than one MiB."""
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----\s[^-]+-----END CERTIFICATE-----")


@dataclass(frozen=True)
class Roots:
    """The trusted certificates."""

    pem: bytes | None
    """All of them in PEM; None for those that grpcio contains."""
    source: str
    """Where they come from, as a text for users."""
    problems: tuple[str, ...] = ()
    """What the environment names and can't be used, as texts for users."""


def roots(environment: Mapping[str, str]) -> Roots:
    """Returns what is trusted now. Blocks on the disk."""
    found = _Found()
    if environment.get(_GRPC) and not (environment.get(_FILE) or environment.get(_FOLDERS)):
        found.add(environment[_GRPC], _GRPC)
    else:
        if environment.get(_FILE):
            found.add(environment[_FILE], _FILE)
        else:
            found.add(next(filter(os.path.isfile, FILES), ""))
        named = [folder for folder in environment.get(_FOLDERS, "").split(":") if folder]
        for folder in named or FOLDERS:
            found.add(folder, _FOLDERS if named else "", _in_folder)
    if not found.certificates:
        return Roots(None, "the certificates that grpcio contains", tuple(found.problems))
    source = f"{len(found.certificates)} certificates of {' and '.join(found.sources)}"
    return Roots(b"\n".join(found.certificates) + b"\n", source, tuple(found.problems))


class _Found:
    """The certificates that were found, in PEM and each once, and where."""

    def __init__(self) -> None:
        self.certificates: dict[bytes, None] = {}
        self.sources: list[str] = []
        self.problems: list[str] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def add(self, path: str, variable: str = "", read: Callable[[str], list[bytes]] | None = None) -> None:
        """Adds the certificates in `path`. What is wrong is a problem when a variable names `path`."""
        before, why = len(self.certificates), "has no certificate in PEM (-----BEGIN CERTIFICATE-----)"
        good = 0
        try:
            for certificate in (read or _in_file)(path):
                good += self._add(certificate)
        except OSError as error:
            why = f"can't be read: {error.strerror or error}"
        if len(self.certificates) > before:
            self.sources.append(path)
        elif variable and not good:
            self.problems.append(f"{variable}: {shown(path)} {why}; it is passed over")

    def _add(self, certificate: bytes) -> bool:
        """Returns whether it is a certificate: gRPC ends its reading at the first one that is not."""
        try:
            self._context.load_verify_locations(cadata=ssl.PEM_cert_to_DER_cert(certificate.decode()))
        except (ValueError, ssl.SSLError):
            return False
        self.certificates[certificate] = None
        return True


def _in_file(path: str) -> list[bytes]:
    with open(path, "rb") as file:
        return _CERTIFICATE.findall(file.read(_MOST_BYTES))


def _in_folder(path: str) -> list[bytes]:
    """Links within the folder are left out: they are other names of its files."""
    with os.scandir(path) as entries:
        files = sorted(entry.path for entry in entries if not _is_other_name(entry))
    found = []
    for file in files:
        with suppress(OSError):
            found += _in_file(file)
    return found


def _is_other_name(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and "/" not in os.readlink(entry.path)
