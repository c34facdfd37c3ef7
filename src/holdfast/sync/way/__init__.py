"""How connections reach the cloud: its addresses, the environment's proxies, and the certificates that are trusted.

Terms: a *way* (`Way`) is how connections reach the cloud's endpoint: directly at one of its addresses, or through a
proxy. The *roots* are the certificates of the trusted authorities.

What the environment says is read as viam-server reads it, so that one setting serves both. This package knows
neither gRPC's calls nor the login, and imports nothing else from sync. Foreign errors (the operating system's, and
those of the SOCKS library) become `CloudError` here. Others may import `VARIABLES` from here, and from the modules
`Routes`, `Way`, `find_way`, `Doubts`, `Tunnel`, `Roots`, `roots` and `why_not_trusted`.
"""

from . import proxies, roots

VARIABLES = (*proxies.VARIABLES, *roots.VARIABLES)
"""The variables of the environment that are read here."""
