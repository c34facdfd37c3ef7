"""The findings on the way to the cloud: what the variables for proxies and certificates mean for this config."""

from __future__ import annotations

from collections.abc import Mapping

from ..config import Config, endpoint
from ..errors import ConfigError
from ..machine_config import Finding, note, problem
from ..sync.way import VARIABLES
from ..sync.way.proxies import Routes
from ..sync.way.roots import roots

_WHOSE = "as the environment of this command says; viam-server's may say something else"


def findings_on_network(config: Config, environment: Mapping[str, str]) -> list[Finding]:
    """Returns what the variables in `environment` mean, and what of them can't be used; nothing when none is set.

    Blocks on the disk.
    """
    if not any(environment.get(name) for name in VARIABLES):
        return []
    try:
        cloud = endpoint(config.cloud_address, allow_plaintext=config.allow_plaintext)
    except ConfigError:  # which `parse` reports
        return []
    routes = Routes.to(cloud, environment)
    ways = [*(["directly"] if routes.direct else []), *([f"through {routes.proxy}"] if routes.proxy else [])]
    findings = [problem(text) for text in routes.problems]
    findings.append(note(f"the cloud, {cloud}, is reached {', or '.join(ways) or 'in no way'}, {_WHOSE}"))
    if not cloud.is_plaintext:
        trusted = roots(environment)
        findings += [problem(text) for text in trusted.problems]
        findings.append(note(f"the cloud's certificate is checked with {trusted.source}, {_WHOSE}"))
    return findings
