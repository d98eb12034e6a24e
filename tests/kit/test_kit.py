"""The kit itself: a guard that lets things through, or a database that forgets, would make other tests worthless."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import pytest

from tests.kit import postgres
from tests.kit.leash import Leash, kill_tree
from tests.kit.postgres import PostgresServer, name_of

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "example.org"])
def test_network_is_closed(address: str):
    with pytest.raises(OSError, match="only loopback is open"):
        socket.create_connection((address, 9), timeout=1)


def test_datagrams_stay_here():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        with pytest.raises(OSError, match="only loopback is open"):
            sender.sendto(b"x", ("192.0.2.1", 9))
        sender.sendto(b"x", ("127.0.0.1", 9))


def test_loopback_is_open():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=1).close()


def test_store_urls_name_empty_databases(store_url: str):
    engine, _, rest = store_url.partition("://")
    assert engine in {"sqlite", "postgresql"}
    if engine == "sqlite":
        assert rest.startswith("/")
        assert not Path(rest[1:]).exists()


async def test_databases_are_apart(postgres_server: PostgresServer):
    first, second = postgres_server.create_database(), postgres_server.create_database()
    connection = await asyncpg.connect(first)
    await connection.execute("CREATE TABLE seen (number bigint)")
    assert await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    assert await connection.fetchval("SHOW fsync") == "on"
    copy = postgres_server.execute("SELECT count(*) FROM pg_tables WHERE tablename = 'seen'", name_of(second))
    assert copy == "0"
    postgres_server.drop(first)  # with a connection still open
    postgres_server.drop(second)
    assert not await _is_alive(connection)


async def _is_alive(connection: asyncpg.Connection) -> bool:
    try:
        await connection.fetchval("SELECT 1")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        connection.terminate()
        return False
    return True


def test_commits_outlive_kill9():
    with PostgresServer() as server:
        database = name_of(server.create_database())
        server.execute("CREATE TABLE kept AS SELECT 7 AS seven", database)
        server.kill9()
        with pytest.raises(RuntimeError, match="psql"):
            server.execute("SELECT 1")
        server.restart()
        assert server.execute("SELECT seven FROM kept", database) == "7"
        copy = name_of(server.create_database(template=database))
        assert server.execute("SELECT seven FROM kept", copy) == "7"
        folder = server._folder
    assert not folder.exists()


def test_binaries_out_of_reach_are_copied(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(postgres, "_can_run", lambda command, _: command[-1] != "--version")
    with PostgresServer(fsync=False) as server:
        assert server._folder in server._bin.parents
        assert server.execute("SELECT 1") == "1"


def test_leash_ends_a_child_when_its_parent_dies():
    story = (
        "import subprocess, sys, time\n"
        "from tests.kit.leash import Leash\n"
        f"child = subprocess.Popen({SLEEPER!r}, start_new_session=True)\n"
        "leash = Leash(child.pid)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", story], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and Path(f"/proc/{child}/status").exists():
        if "State:\tZ" in Path(f"/proc/{child}/status").read_text():
            break  # dead; in a container nobody may reap it
        time.sleep(0.05)
    else:
        assert not Path(f"/proc/{child}").exists()


def test_released_leash_leaves_the_child_alone():
    child = subprocess.Popen(SLEEPER)
    Leash(child.pid).release()
    time.sleep(0.2)
    assert child.poll() is None
    kill_tree(child)
    assert child.poll() == -signal.SIGKILL


def test_chance_follows_the_seed(rng: random.Random, seed: int, request: pytest.FixtureRequest):
    assert rng.random() == random.Random(f"{seed}:{request.node.nodeid}").random()
