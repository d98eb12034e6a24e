"""`numberline up`: a server to try things with, ready in one command."""

from __future__ import annotations

import shlex
import shutil
from typing import TYPE_CHECKING, Annotated

import typer

from numberline.doors.cli.home import (
    CREDENTIALS,
    DatabaseOption,
    HomeOption,
    command,
    make_home,
    settings_of,
    shown,
)
from numberline.doors.cli.terminal import say

if TYPE_CHECKING:
    from numberline.doors.cli.demo import Demo
    from numberline.settings import Settings

_QUERY = (
    "country_code=US&phone_category_name=local&phone_region_id=101&phone_number=%5B%22%2B15552850126%22%5D"
)


def up(
    home: HomeOption = None,
    host: Annotated[str | None, typer.Option("--host", help='Address to listen on; "*" for all.')] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port to listen on; 8443 unless told.")] = None,
    database: DatabaseOption = None,
    plain_http: Annotated[bool, typer.Option("--plain-http", help="HTTP; the SDKs need HTTPS.")] = False,
) -> None:
    """Start a server with a little stock and play money, and keep it in a folder.

    The first start makes a certificate, a store, accounts and their keys; every other finds them again.
    """
    from numberline.doors.cli.demo import ensure_demo  # noqa: PLC0415 - heavy parts on demand
    from numberline.doors.cli.serve import write_settings_file  # noqa: PLC0415
    from numberline.doors.cli.start import certificates_of, hasten, start_server  # noqa: PLC0415

    hasten()
    settings = settings_of(home, host=host, port=port, database=database, plain_http=plain_http or None)
    make_home(settings.home)
    certificates = certificates_of(settings)
    demo = ensure_demo(settings)
    write_settings_file(settings, database)
    start_server(settings, certificates, lambda: say(greeting(settings, demo)))


def greeting(settings: Settings, demo: Demo) -> str:
    """What to try, as lines to paste into a terminal in this folder."""
    home = settings.home
    node = settings.base_url.split("://", 1)[1]
    ca, credentials = shlex.quote(shown(home / "ca.pem")), shown(home / CREDENTIALS)
    text = f"""\
Numberline is ready at {settings.base_url}

{demo.numbers:,} numbers are in stock; {len(demo.accounts)} accounts have play money, and their keys are in \
{shown(home / "keys")}.
Ctrl-C stops the server; what you did is kept.

Buy a number from another terminal in this folder:

curl{"" if settings.plain_http else f" --cacert {ca}"} \\
  -H "Authorization: Bearer $({command("token", home)})" \\
  -H 'Content-Type: application/json' -d '{{}}' \\
  '{settings.base_url}/platform_api/AttachPhoneNumber?{_QUERY}'

{command("call GetPhoneNumbers", home)}
"""
    if settings.plain_http:
        return text
    sdks = _python(ca, credentials, node), _node(ca, credentials, node)
    return "\n".join((text, "With the vendor's SDKs:\n", *sdks))


def _python(ca: str, credentials: str, node: str) -> str:
    interpreter = next(filter(shutil.which, ("python3", "python")), "python3")
    return f"""\
REQUESTS_CA_BUNDLE={ca} {interpreter} - <<'END'
from voximplant.apiclient import VoximplantAPI  # pip install voximplant-apiclient
api = VoximplantAPI({credentials!r}, {node!r})
print(api.attach_phone_number(country_code="US", phone_category_name="local", phone_region_id=101))
END
"""


def _node(ca: str, credentials: str, node: str) -> str:
    return f"""\
NODE_EXTRA_CA_CERTS={ca} node - <<'END'
const Client = require('@voximplant/apiclient-nodejs').default;  // npm install @voximplant/apiclient-nodejs
const client = new Client({{ pathToCredentials: {credentials!r}, host: {node!r} }});
client.onReady = async () => console.log(await client.PhoneNumbers.getPhoneNumbers({{}}));
END
"""
