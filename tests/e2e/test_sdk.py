"""Acceptance by the vendor's own SDKs, unmodified: over TLS, against the server as `numberline up` starts it.

How: one fresh demo world per engine; each SDK runs in a process of its own and is told to trust the world's authority,
nothing else. Both are asked by the wire's names; the shop turns those into the SDK's own, and its answers back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from tests.kit.postgres import PostgresServer
from tests.kit.sdk.clients import Sdk, SdkFailedError, SdkRefusedError, node_sdk, python_sdk
from tests.kit.server import ServerProcess

REGION: Final = {"country_code": "US", "phone_category_name": "local", "phone_region_id": 101}
_NODE_GROUPS: Final = {"GetAccountInfo": "Accounts"}


class Shop:
    """One SDK, asked by the wire's names."""

    def __init__(self, name: str, sdk: Sdk) -> None:
        self.name, self._sdk = name, sdk

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method; parameters and answer as on the wire, whatever the SDK makes of them."""
        if self.name == "python":
            answer = self._sdk.call(_snake(method), **params)
        else:
            group = _NODE_GROUPS.get(method, "PhoneNumbers")
            own = {_camel(name): value for name, value in params.items()}
            answer = self._sdk.call(f"{group}.{method[0].lower()}{method[1:]}", **own)
        restored = _restore(answer)
        assert isinstance(restored, dict)
        return restored


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def _camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda found: found[1].upper(), name)


def _restore(answer: Any) -> Any:
    if isinstance(answer, dict):
        return {_snake(name): _restore(value) for name, value in answer.items()}
    return [_restore(item) for item in answer] if isinstance(answer, list) else answer


OpenShop = Callable[..., Shop]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer
) -> Iterator[ServerProcess]:
    """A fresh home and a fresh database, served by `numberline up`."""
    url = postgres_server.create_database() if request.param == "postgres" else None
    with ServerProcess(tmp_path_factory.mktemp(request.param) / "home", database=url) as found:
        yield found
    if url:
        postgres_server.drop(url)


@pytest.fixture(scope="module")
def running(server: ServerProcess) -> Iterator[dict[tuple[str, str, int | None], Sdk]]:
    """The SDKs that were started, which serve further tests too: a start takes longer than a test."""
    found: dict[tuple[str, str, int | None], Sdk] = {}
    yield found
    for sdk in found.values():
        sdk.close()


@pytest.fixture(params=["python", "node"])
def open_shop(
    request: pytest.FixtureRequest, server: ServerProcess, running: dict[tuple[str, str, int | None], Sdk]
) -> OpenShop:
    """A function that runs the SDK with the key of an account, and perhaps acting as another account."""

    def start(key: str = "demo", account_id: int | None = None) -> Shop:
        named = (request.param, key, account_id)
        if named not in running:
            build = python_sdk if request.param == "python" else node_sdk
            credentials = server.home / "keys" / f"{key}.json"
            running[named] = build(server.host, credentials, server.ca, account_id)
        return Shop(request.param, running[named])

    return start


def _account_id(server: ServerProcess, key: str) -> int:
    found: int = json.loads((server.home / "keys" / f"{key}.json").read_text())["account_id"]
    return found


def _buy(shop: Shop, count: int) -> list[str]:
    answer = shop.ask("AttachPhoneNumber", **REGION, phone_count=count)
    assert answer["result"] == 1
    return [item["phone_number"] for item in answer["phone_numbers"]]


def test_a_shopper_finds_countries_regions_and_numbers(open_shop: OpenShop) -> None:
    shop = open_shop()
    countries = shop.ask("GetPhoneNumberCategories")["result"]
    [states] = [one for one in countries if one["country_code"] == "US"]
    assert states["phone_prefix"] == "1"
    kinds = {kind["phone_category_name"]: kind["country_has_states"] for kind in states["phone_categories"]}
    assert kinds == {"GEOGRAPHIC": True, "TOLLFREE": False}
    regions = shop.ask(
        "GetPhoneNumberRegions", country_code="US", phone_category_name="GEOGRAPHIC", country_state="CA"
    )["result"]
    [region] = [one for one in regions if one["phone_region_id"] == 101]
    assert region["phone_count"] > 1_000
    assert region["multiple_numbers_price"] == []
    assert (region["local_price"], region["local_currency"]) == (1, "USD")
    actual = shop.ask("GetActualPhoneNumberRegion", **REGION)["result"]
    assert actual["phone_region_id"] == 101
    found = shop.ask("GetNewPhoneNumbers", **REGION, count=5, phone_number_mask="1555*26")
    assert found["count"] == len(found["result"]) == 5
    assert found["total_count"] > 5
    assert all(item["phone_number"].endswith("26") for item in found["result"])
    states_of = shop.ask("GetPhoneNumberCountryStates", country_code="US", phone_category_name="GEOGRAPHIC")
    assert {"country_state": "CA", "country_state_name": "California"} in states_of["result"]


def test_a_purchase_by_number_from_search_to_list(open_shop: OpenShop) -> None:
    shop = open_shop()
    [free] = shop.ask("GetNewPhoneNumbers", **REGION, count=1)["result"]
    number = free["phone_number"]
    assert shop.ask("IsAccountPhoneNumber", phone_number=number)["result"] is False
    answer = shop.ask("AttachPhoneNumber", **REGION, phone_number=f"+{number}")
    assert answer["result"] == 1
    assert answer["phone_numbers"] == [{"phone_id": free["phone_id"], "phone_number": number}]
    assert shop.ask("IsAccountPhoneNumber", phone_number=number)["result"] is True
    listed = shop.ask("GetPhoneNumbers", phone_number=number)
    assert (listed["count"], listed["total_count"]) == (1, 1)
    [item] = listed["result"]
    assert (item["phone_id"], item["phone_price"], item["phone_country_code"]) == (free["phone_id"], 1, "US")
    assert (item["deactivated"], item["canceled"], item["auto_charge"]) == (False, False, True)
    # Dates went through the SDK's own parser; each prints them in its own way.
    bought, renewal = (
        re.match(r"\d{4}-\d\d-\d\d", item[f"phone_{name}"]) for name in ("purchase_date", "next_renewal")
    )
    assert bought
    assert renewal
    assert bought[0] < renewal[0]
    assert item["modified"]


def test_a_purchase_by_count_moves_the_balance(open_shop: OpenShop) -> None:
    shop = open_shop()
    before = shop.ask("GetAccountInfo")["result"]
    numbers = _buy(shop, 3)
    assert len(set(numbers)) == 3
    after = shop.ask("GetAccountInfo")["result"]
    assert (before["account_name"], before["currency"]) == ("demo", "USD")
    # A dollar for each number at once and a dollar for its month, and whatever the demo world's tax is on both.
    [free] = shop.ask("GetNewPhoneNumbers", **REGION, count=1)["result"]
    parts = ("phone_price", "phone_tax_reserve", "phone_installation_price", "phone_installation_tax_reserve")
    each = sum(free[part] for part in parts)
    assert each >= 2
    assert round(before["balance"] - after["balance"], 6) == round(3 * each, 6)


def test_a_list_of_numbers_is_bought_whole_or_not_at_all(open_shop: OpenShop) -> None:
    shop = open_shop()
    free = [item["phone_number"] for item in shop.ask("GetNewPhoneNumbers", **REGION, count=3)["result"]]
    with pytest.raises(SdkRefusedError) as refused:
        shop.ask("AttachPhoneNumber", **REGION, phone_number=";".join([*free, "19995550100"]))
    assert refused.value.code == 121
    answer = shop.ask("AttachPhoneNumber", **REGION, phone_number=";".join(free))
    assert [item["phone_number"] for item in answer["phone_numbers"]] == free


def test_pages_of_the_list_never_overlap(open_shop: OpenShop) -> None:
    shop = open_shop()
    _buy(shop, 4)
    total = shop.ask("GetPhoneNumbers", count=1)["total_count"]
    pages = [
        shop.ask("GetPhoneNumbers", count=2, offset=at, order_by="phone_number") for at in range(0, total, 2)
    ]
    listed = [item["phone_id"] for page in pages for item in page["result"]]
    assert len(listed) == total
    assert listed == sorted(set(listed))


def test_a_refusal_is_reported_as_the_sdk_reports_refusals(open_shop: OpenShop) -> None:
    shop = open_shop()
    [number] = _buy(shop, 1)
    with pytest.raises(SdkRefusedError) as refused:
        shop.ask("AttachPhoneNumber", **REGION, phone_number=number)
    assert refused.value.code == 395
    assert number in refused.value.msg
    with pytest.raises(SdkRefusedError) as refused:
        open_shop("demo-poor").ask("AttachPhoneNumber", **REGION, phone_count=1)
    assert refused.value.code == 127


def test_a_role_that_does_not_allow_it_is_refused(open_shop: OpenShop) -> None:
    developer = open_shop("demo-developer")
    assert developer.ask("GetPhoneNumbers")["count"] >= 0
    with pytest.raises(SdkRefusedError) as refused:
        _buy(developer, 1)
    assert refused.value.code == 104


@pytest.mark.parametrize("account_id", ["none", "own", "zero"])
def test_every_form_of_configuration_speaks_as_the_keys_account(
    open_shop: OpenShop, server: ServerProcess, account_id: str
) -> None:
    """`zero` is what the Python SDK's own README makes it send: a configuration without an account."""
    own = _account_id(server, "demo")
    shop = open_shop("demo", {"none": None, "own": own, "zero": 0}[account_id])
    assert shop.ask("GetAccountInfo")["result"]["account_id"] == own


def test_a_parent_acts_for_its_child_through_the_account_option(
    open_shop: OpenShop, server: ServerProcess
) -> None:
    child = _account_id(server, "demo-child")
    parent, acting = open_shop(), open_shop("demo", child)
    assert acting.ask("GetAccountInfo")["result"]["account_id"] == child
    [number] = _buy(acting, 1)
    assert acting.ask("IsAccountPhoneNumber", phone_number=number)["result"] is True
    assert parent.ask("IsAccountPhoneNumber", phone_number=number)["result"] is False
    assert parent.ask("GetPhoneNumbers", phone_number=number)["total_count"] == 0
    listed = parent.ask("GetPhoneNumbers", phone_number=number, child_account_id=child)
    assert [item["phone_number"] for item in listed["result"]] == [number]


def test_a_key_does_not_act_for_a_stranger(open_shop: OpenShop, server: ServerProcess) -> None:
    with pytest.raises(SdkRefusedError) as refused:
        open_shop("demo-child", _account_id(server, "demo")).ask("GetAccountInfo")
    assert refused.value.code == 100


def test_an_authority_nobody_knows_is_not_trusted(
    server: ServerProcess, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The other tests would prove little if the SDKs spoke to just any server."""
    import trustme

    other = tmp_path_factory.mktemp("other") / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    for build, method in ((python_sdk, "get_account_info"), (node_sdk, "Accounts.getAccountInfo")):
        with (
            build(server.host, server.home / "keys" / "demo.json", other) as sdk,
            pytest.raises(SdkFailedError, match=r"(?i)certificate"),
        ):
            sdk.call(method)
