"""Viam's own command line tool takes the module: it builds it, reads its models, and uploads it."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from .viam_app import ViamApp

ROOT = Path(__file__).parent.parent.parent
GO_MODULE = ROOT / "tests" / "viam_server"
PLATFORM = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}[platform.machine()]
TIMEOUT_S = 300.0

Cli = Callable[..., Awaitable[str]]


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder in which a module's socket has a path that is short enough for the system."""
    with tempfile.TemporaryDirectory(prefix="hf-") as folder:
        yield Path(folder)


@pytest.fixture
def cli(viam_cli_binary: Path, tmp_path: Path, short_folder: Path) -> Cli:
    """Runs the tool in a folder and returns what it said; it must succeed, and warn of nothing."""

    async def run(*arguments: str, cwd: Path) -> str:
        environment = {"HOME": str(tmp_path), "TMPDIR": str(short_folder), "PATH": os.environ["PATH"]}
        process = await asyncio.create_subprocess_exec(
            str(viam_cli_binary),
            *arguments,
            cwd=cwd,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            said = (await asyncio.wait_for(process.communicate(), TIMEOUT_S))[0].decode()
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode == 0, said
        assert "Warning" not in said and "Error" not in said, said
        return said

    return run


def manifest(folder: Path = ROOT) -> dict[str, Any]:
    return dict(json.loads((folder / "meta.json").read_text()))


def names_in(archive: Path) -> set[str]:
    with tarfile.open(archive) as opened:
        return set(opened.getnames())


def test_meta_json_is_what_the_schema_of_viam_asks(viam_cli_binary: Path) -> None:
    """Its own schema, as it lies in the Go module that `viam_cli_binary` was built from."""
    if shutil.which("go") is None:
        pytest.skip("the schema lies in a Go module, and there is no Go: VIAM_CLI names a tool that others built")
    found = subprocess.run(
        ["go", "mod", "download", "-json", "go.viam.com/rdk"],
        cwd=GO_MODULE,
        capture_output=True,
        text=True,
        check=True,
    )
    schema = json.loads((Path(json.loads(found.stdout)["Dir"]) / "cli" / "module.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    assert list(validator.iter_errors(manifest())) == []
    assert list(validator.iter_errors({**manifest(), "visibility": "secret"})) != []
    assert set(manifest()["build"]["arch"]) == {"linux/amd64", "linux/arm64"}


def test_what_meta_json_names_lies_in_the_archive(archive: Path) -> None:
    named = {manifest()["entrypoint"], *(model["markdown_link"] for model in manifest()["models"])}
    assert named | {"meta.json", "LICENSE"} <= names_in(archive)
    assert not [
        name for name in names_in(archive) if "test" in name.lower() or name.endswith((".pyc", "_utils.so"))
    ]


async def test_the_tool_builds_the_module(cli: Cli, clone: Path, archive: Path) -> None:
    before, built = names_in(archive), archive.stat().st_ino
    await cli("module", "build", "local", cwd=clone)
    assert archive.stat().st_ino != built
    assert names_in(archive) == before


async def test_the_tool_finds_the_models_of_the_module_and_their_pages(cli: Cli, unpacked: Path) -> None:
    whole = (unpacked / "meta.json").read_bytes()
    await cli("module", "update-models", cwd=unpacked)
    assert (unpacked / "meta.json").read_bytes() == whole

    (unpacked / "meta.json").write_text(json.dumps({**manifest(), "models": []}))
    await cli("module", "update-models", "--binary", str(unpacked / "module" / "run.sh"), cwd=unpacked)
    found = [{key: model[key] for key in model if key != "short_description"} for model in manifest()["models"]]
    assert manifest(unpacked)["models"] == found


async def test_the_tool_uploads_the_archive_as_it_is(cli: Cli, archive: Path) -> None:
    async with ViamApp("key-id", "key") as app:
        login = ("--base-url", app.address, "login", "api-key", "--key-id", "key-id", "--key", "key")
        await cli(*login, cwd=ROOT)
        arguments = ("--version", "0.1.0", "--platform", PLATFORM, "--upload", str(archive))
        said = await cli("module", "upload", *arguments, cwd=ROOT)
    assert re.search("Version successfully uploaded", said)
    [update], [upload] = app.updates, app.uploads
    assert bytes(upload.archive) == archive.read_bytes()
    about = upload.about
    assert (about.module_id, about.version, about.platform) == (manifest()["module_id"], "0.1.0", PLATFORM)
    assert (update.entrypoint, update.description) == (manifest()["entrypoint"], manifest()["description"])
    [model], [ours] = update.models, manifest()["models"]
    assert (model.api, model.model, model.description) == (ours["api"], ours["model"], ours["short_description"])
    assert model.markdown_documentation == (ROOT / ours["markdown_link"]).read_text()
    assert update.markdown_description == (ROOT / "README.md").read_text()
