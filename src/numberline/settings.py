"""What the operator may choose, read once at start: command line, then environment, then `numberline.toml`.

Everything is checked as a whole, so that one start tells every mistake. Worker processes get the same settings through
the environment, which is why each of them can be written as a text.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, InitSettingsSource, NoDecode, PydanticBaseSettingsSource
from pydantic_settings import SettingsConfigDict as Config

from numberline.domain import limits

PREFIX: Final = "NUMBERLINE_"
FILE_NAME: Final = "numberline.toml"
DATABASE_NAME: Final = "numberline.db"
EVERYWHERE: Final = frozenset({"", "*", "0.0.0.0", "::"})  # noqa: S104 - compared with, not listened on

Names = Annotated[tuple[str, ...], NoDecode]


class BadSettings(ValueError):
    """The settings cannot be used; `problems` holds a sentence for each reason."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Settings(BaseSettings):
    """The settings of one server; `home` is the folder of its files."""

    model_config = Config(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    home: Path
    database: str = Field(default="", repr=False)

    host: str = "localhost"
    port: int = Field(default=8443, ge=1, le=65_535)
    plain_http: bool = False
    certificate: Path | None = None
    private_key: Path | None = None
    host_names: Names = ()
    trusted_proxies: Names = ()
    processes: int = Field(default=1, ge=1, le=256)

    log_level: Literal["debug", "info", "warning", "error", "critical"] = "info"
    log_format: Literal["text", "json"] = "text"

    unverified_hold_days: int = Field(default=14, ge=1, le=366)
    attach_count_max: int = Field(default=limits.ATTACH_COUNT, ge=1, le=limits.ATTACH_COUNT)
    api_address: str = ""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line over environment over file."""
        del dotenv_settings, file_secret_settings  # a second way to say the same would only surprise
        assert isinstance(init_settings, InitSettingsSource), "pydantic-settings hands over what was given"
        said = _read_file(init_settings.init_kwargs["home"])
        known = {name: value for name, value in said.items() if name in cls.model_fields}
        return init_settings, env_settings, InitSettingsSource(settings_cls, known)

    # Each check stands by itself and waits for no other field but those named before it: all are told at once.

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @field_validator("database", mode="before")
    @classmethod
    def _database(cls, value: object, info: ValidationInfo) -> object:
        if value in ("", None) and "home" in info.data:
            return own_database(info.data["home"])
        return value

    @field_validator("database")
    @classmethod
    def _known_engine(cls, url: str) -> str:
        if not re.match(r"sqlite:///.|postgres(ql)?://.", url):
            raise ValueError("must be sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/NAME")
        return url

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("host_names", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return [part.strip() for part in value.split(",") if part.strip()]

    @field_validator("certificate", "private_key")
    @classmethod
    def _readable(cls, file: Path | None) -> Path | None:
        if file is None:
            return None
        if not os.access(file.expanduser(), os.R_OK):
            raise ValueError("names a file that cannot be read")
        return file.expanduser().absolute()

    @field_validator("private_key")
    @classmethod
    def _in_pairs(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        if "certificate" in info.data and (file is None) != (info.data["certificate"] is None):
            raise ValueError("goes with `certificate`: give both, or neither for a certificate made here")
        if file is not None and info.data.get("plain_http"):
            raise ValueError("is of no use with `plain_http`: leave out one of them")
        return file

    @field_validator("api_address")
    @classmethod
    def _own_address(cls, address: str, info: ValidationInfo) -> str:
        if address or not {"host", "port"} <= info.data.keys():
            return address
        return f"{'localhost' if info.data['host'] in EVERYWHERE else info.data['host']}:{info.data['port']}"

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
        return {**self.model_dump(mode="json"), "database": mask_url(self.database)}

    def to_environment(self) -> dict[str, str]:
        """The variables from which another process reads exactly these settings."""
        return {
            PREFIX + name.upper(): _to_text(value)
            for name, value in self.model_dump(mode="json").items()
            if value not in (None, "")
        }


def load_settings(home: Path, **given: Any) -> Settings:
    """Read the settings of a home folder; `given` is what the command line says, None meaning nothing.

    Raises BadSettings.
    """
    given = {name: value for name, value in given.items() if value is not None}
    unknown = _unknown_names(home)
    try:
        settings = Settings(home=home, **given)
    except ValidationError as error:
        problems = [_sentence(problem, given, home) for problem in error.errors()]
        raise BadSettings([*unknown, *problems]) from None
    if unknown:
        raise BadSettings(unknown)
    return settings


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


def _unknown_names(home: Path) -> list[str]:
    known = Settings.model_fields.keys() - {"home"}
    return [
        f"`{name}` in {home / FILE_NAME} is no setting{_nearest(name, known)}."
        for name in _read_file(home)
        if name not in known
    ]


def _nearest(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), 1)
    return f"; perhaps `{close[0]}` is meant" if close else ""


_SAYS: Final[dict[str, Callable[[Mapping[str, Any]], str]]] = {
    "int_parsing": lambda _: "must be a whole number",
    "int_type": lambda _: "must be a whole number",
    "int_from_float": lambda _: "must be a whole number",
    "bool_parsing": lambda _: "must be true or false",
    "bool_type": lambda _: "must be true or false",
    "string_type": lambda _: "must be a text",
    "tuple_type": lambda _: "must be a list of texts",
    "path_type": lambda _: "must be the path of a file",
    "greater_than_equal": lambda context: f"must be {context['ge']} or more",
    "less_than_equal": lambda context: f"must be {context['le']} or less",
    "literal_error": lambda context: f"must be one of {context['expected']}",
    "value_error": lambda context: str(context["error"]),
}


def _sentence(problem: Any, given: Mapping[str, Any], home: Path) -> str:
    name = str(problem["loc"][0])
    say = _SAYS.get(problem["type"])
    says = say(problem.get("ctx", {})) if say else f"is not right: {problem['msg']}"
    variable = PREFIX + name.upper()
    if name in given:
        return f"--{name.replace('_', '-')} {says}."
    if not os.environ.get(variable):
        return f"`{name}` in {home / FILE_NAME} {says}."
    if os.environ[variable].startswith("tcp://"):
        # Kubernetes sets this for every service of the name, in every pod of the namespace.
        return f"{variable} {says}; Kubernetes set it, which `enableServiceLinks: false` in the pod stops."
    return f"{variable} {says}."


def _to_text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value)
