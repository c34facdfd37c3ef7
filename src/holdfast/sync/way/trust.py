"""Why TLS does not come about: gRPC says that a certificate is not trusted, but neither whose nor by whom.

So the handshake is done again with Python's own TLS and the same roots. Runs on the event loop.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import Any

from ...base.words import shortened, shown
from .roots import Roots
from .way import TIMEOUT_S, Way

_MOST_NAME_CHARS = 120


async def why_not_trusted(way: Way, roots: Roots) -> str:
    """Returns why no TLS comes about with the endpoint of `way`, and what helps, as a text for users; empty when it
    does come about. Raises CloudError when there is no connection."""
    host = way.endpoint.host
    context = ssl.create_default_context(cadata=roots.pem.decode() if roots.pem else None)
    context.set_alpn_protocols(["h2"])
    try:
        tls = await _handshake(way, context)
    except ssl.SSLCertVerificationError as error:
        why = error.verify_message.rstrip(".")
    except OSError as error:
        why = getattr(error, "reason", None) or error.strerror or "the connection ends"
        return f"{host} speaks no TLS that can be understood ({why}), {way}"
    else:
        if tls.selected_alpn_protocol() == "h2":
            return ""
        return (
            f"{host} offers no HTTP/2, {way}: something on the way that inspects TLS may not pass it on; "
            "let it leave this host alone"
        )
    issuer = shortened(await _issuer(way), _MOST_NAME_CHARS)
    return (
        f"the certificate of {host} is not trusted ({why}), {way}; it was issued by {issuer}; trusted are "
        f"{roots.source}; {_advice(why)}"
    )


def _advice(why: str) -> str:
    if "expired" in why or "not yet valid" in why:
        return f"the clock of this machine says {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC; is it right?"
    if "mismatch" in why:
        return "is cloud_address right, or does a proxy or firewall answer in its place?"
    return (
        "if that is your own authority, or that of a proxy or firewall which inspects TLS, add its certificate to "
        "the system's (update-ca-certificates), or name a file with it in SSL_CERT_FILE"
    )


async def _issuer(way: Way) -> str:
    """Returns who issued the certificate of the endpoint. Raises CloudError when there is no connection.

    Python decodes only a certificate that it has verified, so the one that comes is trusted for a second look.
    """
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    itself = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    itself.check_hostname = False
    itself.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        itself.load_verify_locations(cadata=(await _handshake(way, unverified)).getpeercert(True) or b"")
        certificate: Any = (await _handshake(way, itself)).getpeercert() or {}
    except OSError:  # it changes, or has expired
        certificate = {}
    names = dict(name for part in certificate.get("issuer", ()) for name in part)
    found = [names[key] for key in ("commonName", "organizationName") if key in names]
    return shown(", ".join(found)) if found else "somebody who can't be told"


async def _handshake(way: Way, context: ssl.SSLContext) -> ssl.SSLObject:
    """Returns what the handshake agreed on; the connection is closed again. Raises CloudError and OSError, of which
    ssl.SSLError is a kind."""
    opened = await way.open()
    _, writer = await asyncio.open_connection(
        sock=opened, ssl=context, server_hostname=way.endpoint.host, ssl_handshake_timeout=TIMEOUT_S
    )
    tls = writer.get_extra_info("ssl_object")
    writer.transport.abort()
    assert isinstance(tls, ssl.SSLObject)
    return tls
