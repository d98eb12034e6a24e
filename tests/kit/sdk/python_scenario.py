"""Drives the vendor's Python SDK, unmodified: one JSON line in, one JSON line out.

    python python_scenario.py --host localhost:8443 --credentials /path/credentials.json [--account-id 2]
    in:  {"method": "attach_phone_number", "params": {"country_code": "US", "phone_count": 1}}
    out: {"result": ...}  what the client returned
         {"error": {"code": 127, "msg": "..."}}  the server's refusal, raised by the SDK as VoximplantException
         {"thrown": {"name": "ConnectError", "message": "..."}}  any other exception

Trust in the server's certificate comes from the environment: REQUESTS_CA_BUNDLE=/path/ca.pem.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from voximplant.apiclient import VoximplantAPI, VoximplantAPIConfig, VoximplantException


def connect(arguments: list[str]) -> VoximplantAPI:
    """Build the SDK's client from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--credentials", required=True)
    parser.add_argument("--account-id", type=int)
    options = parser.parse_args(arguments)
    if options.account_id is None:
        # The account is read from the credentials; a config object would put account 0 in its place.
        return VoximplantAPI(options.credentials, options.host)
    return VoximplantAPI(config=VoximplantAPIConfig(options.credentials, options.host, options.account_id))


def call(client: VoximplantAPI, method: str, params: dict[str, Any]) -> dict[str, Any]:
    """Call one method of the client and describe how it ended."""
    try:
        return {"result": getattr(client, method)(**params)}
    except VoximplantException as refusal:
        return {"error": {"code": refusal.code, "msg": refusal.message}}
    except Exception as defect:  # noqa: BLE001 - the test wants to see whatever the SDK raises
        return {"thrown": {"name": type(defect).__name__, "message": str(defect)}}


def main() -> None:
    """Answer each line of standard input until it ends."""
    client = connect(sys.argv[1:])
    for line in sys.stdin:
        request = json.loads(line)
        answer = call(client, request["method"], request.get("params") or {})
        print(json.dumps(answer, default=str), flush=True)


if __name__ == "__main__":
    main()
