"""Keys name sources; a proof speaks for one user of one site."""

import hmac

import pytest

from consent.policy import SitePolicy, SourcePolicy, Trust
from gateway.collector.access import Access
from gateway.configuration.shapes import SourceSettings
from gateway.errors import UnknownSourceError
from tests.factories import a_policy

SETTINGS = [
    SourceSettings("web", "shop", "public", "wk_1"),
    SourceSettings("backend", "shop", "server", "sk_1"),
    SourceSettings("second", "shop", "server", "sk_2"),
    SourceSettings("other", "blog", "server", "sk_3"),
]
POLICY = a_policy(
    sites={name: SitePolicy(name, f"{name}.example", "UTC") for name in ("shop", "blog")},
    sources={one.name: SourcePolicy(one.name, one.site, Trust(one.trust)) for one in SETTINGS},
)
ACCESS = Access(POLICY, SETTINGS)


def proof(key: str, user_id: str = "u1") -> str:
    return hmac.new(key.encode(), user_id.encode(), "sha256").hexdigest()


@pytest.mark.parametrize(("key", "name"), [("wk_1", "web"), ("sk_1", "backend")])
def test_a_key_names_its_source(key: str, name: str) -> None:
    assert ACCESS.source(key).name == name


@pytest.mark.parametrize("key", [None, "", "wk_2", "WK_1", "wk_1 "])
def test_any_other_key_names_none_and_is_not_repeated(key: str | None) -> None:
    with pytest.raises(UnknownSourceError) as caught:
        ACCESS.source(key)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize("given", [proof("sk_1"), proof("sk_2"), proof("sk_1").upper()])
def test_a_proof_under_any_server_key_of_the_site_holds(given: str) -> None:
    assert ACCESS.proves("shop", "u1", given)


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "x",
        "é" * 64,
        proof("wk_1"),
        proof("sk_3"),
        proof("sk_1", "u2"),
        proof("sk_1")[:-1],
    ],
)
def test_any_other_proof_does_not(given: str | None) -> None:
    assert not ACCESS.proves("shop", "u1", given)


def test_a_site_without_server_keys_takes_no_proof() -> None:
    assert not Access(POLICY, SETTINGS[:1]).proves("shop", "u1", proof("wk_1"))
