"""The way to the cloud: the login, the connections, the calls, and whether the cloud can be reached.

Terms: the *link* (`Link`) is the state of the way to the cloud, and decides when a call may be made. A *verdict*
(`Verdict`) is what an error of the cloud means for the file and for the link. A *unit* is what one call sends; the
link names it by the path of its first file. A refusal is *believed* when `refusals` says that its file may be given
up.

It knows no capture folder, no ledger and no queue: it gets serialized messages and returns answers. Foreign errors
(gRPC's, the operating system's) become `CloudError` in `cloud.py` and `streams.py` and go no further. It imports
nothing else from sync. Others may import `Cloud`, `CloudSettings`, `Link`, `Meter`, `Messages`, `verdict`,
`Verdict`, `Backoff` and `unit_backoff`.
"""
