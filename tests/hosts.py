"""A name for a cloud on this computer, for programs that must not take it for one on this computer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

HOST = "cloud.example"


def seeing(folder: Path, name: str, *addresses: str) -> Sequence[str]:
    """A command that runs another one for which the cloud's name has these addresses.

    The other one sees a hosts file in `folder` in place of /etc/hosts, in a mount namespace of its own, which needs
    root. It is run by `exec`: its process id is the command's.
    """
    hosts = folder / f"hosts-{name}"
    hosts.write_text("".join(f"{address} {HOST}\n" for address in addresses) + "127.0.0.1 localhost\n")
    script = f'mount --bind "{hosts}" /etc/hosts && exec "$0" "$@"'
    return ["unshare", "--mount", "sh", "-c", script]
