"""What the operator may choose, read once at start: command line, then environment, then `numberline.toml`.

Everything is checked as a whole, so that one start tells every mistake. Worker processes get the same settings through
the environment, which is why each of them can be written as a text.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

from numberline.domain import limits

PREFIX: Final = "NUMBERLINE_"
FILE_NAME: Final = "numberline.toml"
DATABASE_NAME: Final = "numberline.db"
EVERYWHERE: Final = frozenset({"", "*", "0.0.0.0", "::"})  # noqa: S104 - compared with, not listened on


class BadSettings(ValueError):
    """The settings cannot be used; `problems` holds a sentence for each reason."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


# Readers: each makes a setting of what was said, or raises ValueError with the end of a sentence about it.


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a text")  # noqa: TRY004 - for the operator it is a wrong value
    return value


def _texts(value: object) -> tuple[str, ...]:
    """A list in the file, a text with commas elsewhere."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        raise ValueError("must be a list of texts")
    return tuple(part.strip() for part in parts if part.strip())


def _whole(at_least: int, at_most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        try:
            found = int(value) if isinstance(value, str) else value
        except ValueError:
            found = None
        if not isinstance(found, int) or isinstance(found, bool):
            raise ValueError("must be a whole number")  # noqa: TRY004 - as in `_text`
        if found < at_least:
            raise ValueError(f"must be {at_least} or more")
        if found > at_most:
            raise ValueError(f"must be {at_most} or less")
        return found

    return read


def _switch(value: object) -> bool:
    said = str(value).strip().lower()
    if said in ("true", "yes", "on", "1"):
        return True
    if said in ("false", "no", "off", "0"):
        return False
    raise ValueError("must be true or false")


def _one_of(*choices: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        found = value.strip().lower() if isinstance(value, str) else None
        if found not in choices:
            *others, last = map(repr, choices)
            raise ValueError(f"must be one of {', '.join(others)} or {last}")
        return found

    return read


def _file(value: object) -> Path:
    if not isinstance(value, str | Path):
        raise ValueError("must be the path of a file")  # noqa: TRY004 - as in `_text`
    path = Path(value).expanduser()
    if not os.access(path, os.R_OK):
        raise ValueError("names a file that cannot be read")
    return path.absolute()


def _database(value: object) -> str:
    url = _text(value)
    if not re.match(r"sqlite:///.|postgres(ql)?://.|$", url):
        raise ValueError("must be sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/NAME")
    return url


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one server; `home` is the folder of its files."""

    home: Path
    database: Annotated[str, _database] = field(default="", repr=False)

    host: Annotated[str, _text] = "localhost"
    port: Annotated[int, _whole(1, 65_535)] = 8443
    plain_http: Annotated[bool, _switch] = False
    certificate: Annotated[Path | None, _file] = None
    private_key: Annotated[Path | None, _file] = None
    host_names: Annotated[tuple[str, ...], _texts] = ()
    trusted_proxies: Annotated[tuple[str, ...], _texts] = ()
    processes: Annotated[int, _whole(1, 256)] = 1

    log_level: Annotated[str, _one_of("debug", "info", "warning", "error", "critical")] = "info"
    log_format: Annotated[str, _one_of("text", "json")] = "text"

    unverified_hold_days: Annotated[int, _whole(1, 366)] = 14
    attach_count_max: Annotated[int, _whole(1, limits.ATTACH_COUNT)] = limits.ATTACH_COUNT
    api_address: Annotated[str, _text] = ""

    @property
    def base_url(self) -> str:
        """The address at which this machine reaches the server."""
        host = "localhost" if self.host in EVERYWHERE else self.host
        host = f"[{host}]" if ":" in host else host
        return f"{'http' if self.plain_http else 'https'}://{host}:{self.port}"

    @property
    def own_database(self) -> str:
        """The database inside the home, which is used where none is named."""
        return own_database(self.home)

    def masked(self) -> dict[str, Any]:
        """Every setting as it may be shown: without the database's password."""
        return {**self._plain(), "database": mask_url(self.database)}

    def to_environment(self) -> dict[str, str]:
        """The variables from which another process reads exactly these settings."""
        return {
            PREFIX + name.upper(): _to_text(value)
            for name, value in self._plain().items()
            if value not in (None, "")
        }

    def _plain(self) -> dict[str, Any]:
        return {one.name: _to_plain(getattr(self, one.name)) for one in fields(self)}


def load_settings(home: Path, **given: Any) -> Settings:
    """Read the settings of a home folder; `given` is what the command line says, None meaning nothing.

    Raises BadSettings.
    """
    sources = _Sources(home, given)
    found: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for name, read in _READERS.items():
        said = sources.find(name)
        if said is None:
            continue
        try:
            found[name] = read(said)
        except ValueError as error:
            wrong[name] = str(error)
    if not wrong.keys() & {"certificate", "private_key"} and (odd := _oddity(found)):
        wrong["private_key"] = odd
    problems = [*sources.unknown(), *(sources.sentence(name, says) for name, says in wrong.items())]
    if problems:
        raise BadSettings(problems)
    home = home.expanduser().absolute()
    settings = Settings(home=home, **{**found, "database": found.get("database") or own_database(home)})
    return settings if settings.api_address else replace(settings, api_address=_own_address(settings))


_READERS: Final[dict[str, Callable[[object], Any]]] = {
    name: hint.__metadata__[0]
    for name, hint in get_type_hints(Settings, include_extras=True).items()
    if name != "home"
}


class _Sources:
    """What was said of each setting: on the command line, else in the environment, else in the file."""

    def __init__(self, home: Path, given: Mapping[str, Any]) -> None:
        self._given = {name: value for name, value in given.items() if value is not None}
        self._path = home / FILE_NAME
        self._file = _read_file(home)

    def find(self, name: str) -> Any:
        """What holds of all that was said; None when nothing was. An empty variable says nothing."""
        if name in self._given:
            return self._given[name]
        return os.environ.get(PREFIX + name.upper()) or self._file.get(name)

    def sentence(self, name: str, says: str) -> str:
        """A problem together with where it comes from."""
        variable = PREFIX + name.upper()
        if name in self._given:
            return f"--{name.replace('_', '-')} {says}."
        if not os.environ.get(variable):
            return f"`{name}` in {self._path} {says}."
        if os.environ[variable].startswith("tcp://"):
            # Kubernetes sets this for every service of the name, in every pod of the namespace.
            return (
                f"{variable} {says}; Kubernetes set it, which `enableServiceLinks: false` in the pod stops."
            )
        return f"{variable} {says}."

    def unknown(self) -> list[str]:
        """A sentence for each name in the file that is no setting."""
        return [
            f"`{name}` in {self._path} is no setting{_nearest(name)}."
            for name in self._file
            if name not in _READERS
        ]


def _oddity(found: Mapping[str, Any]) -> str | None:
    """What is wrong with the private key beside the other settings."""
    if ("private_key" in found) != ("certificate" in found):
        return "goes with `certificate`: give both, or neither for a certificate made here"
    if "private_key" in found and found.get("plain_http"):
        return "is of no use with `plain_http`: leave out one of them"
    return None


def _own_address(settings: Settings) -> str:
    host = "localhost" if settings.host in EVERYWHERE else settings.host
    return f"{host}:{settings.port}"


def own_database(home: Path) -> str:
    """The URL of the database inside a home."""
    return f"sqlite:///{home / DATABASE_NAME}"


def mask_url(url: str) -> str:
    """A database URL without its password."""
    url = re.sub(r"(://[^:@/]*):.*@", r"\1:***@", url)  # up to the last @: a password may be ill written
    return re.sub(r"(?<=[?&])(\w*password)=[^&#]*", r"\1=***", url)


def _read_file(home: Path) -> dict[str, Any]:
    """What the file says; nothing when there is none."""
    path = home.expanduser() / FILE_NAME
    try:
        with path.open("rb") as file:
            found = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BadSettings([f"{path} cannot be read: {error.strerror}."]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSettings([f"{path} is not valid TOML: {error}."]) from None
    return found


def _nearest(name: str) -> str:
    import difflib  # noqa: PLC0415 - only for mistakes

    close = difflib.get_close_matches(name, sorted(_READERS), 1)
    return f"; perhaps `{close[0]}` is meant" if close else ""


def _to_plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _to_text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(value)
    return value if isinstance(value, str) else json.dumps(value)
