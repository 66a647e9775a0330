"""The first configuration: it loads, it is safe, and it is written whole or not at all."""

import secrets
from pathlib import Path

import pytest

from consent.policy import Trust
from gateway.configuration.init import init
from gateway.errors import SettingsError
from gateway.settings import load
from segments.rules.parse import read_yaml

NAMES = {
    "einlass.toml", "notices/web.de.md", "notices/web.en.md", "segments/shop.yaml",
    "secrets/backend.key", "secrets/google.token", "secrets/meta.token",
}  # fmt: skip


def _names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_files_returned_are_the_files_written(tmp_path: Path) -> None:
    written = init(tmp_path / "new" / "shop", None, None, secrets.token_bytes)
    assert {str(path.relative_to(tmp_path / "new" / "shop")) for path in written} == NAMES
    assert _names(tmp_path / "new" / "shop") == NAMES


def test_the_configuration_is_written_last(tmp_path: Path) -> None:
    assert init(tmp_path, None, None, secrets.token_bytes)[-1] == tmp_path / "einlass.toml"


def test_the_keys_given_are_those_of_the_two_sources(tmp_path: Path) -> None:
    init(tmp_path, 'wk_"quoted\\', "sk_given", secrets.token_bytes)
    sources = load(tmp_path / "einlass.toml").sources
    assert (sources["web"].key, sources["web"].trust) == ('wk_"quoted\\', Trust.PUBLIC)
    assert (sources["backend"].key, sources["backend"].trust) == ("sk_given", Trust.SERVER)


def test_keys_are_made_from_the_randomness_passed_in(tmp_path: Path) -> None:
    init(tmp_path, None, None, lambda count: b"\x01" * count)
    sources = load(tmp_path / "einlass.toml").sources
    assert sources["web"].key == "wk_" + "01" * 16
    assert sources["backend"].key == "sk_" + "01" * 32


def test_the_server_key_stands_in_its_file_alone(tmp_path: Path) -> None:
    init(tmp_path, None, "sk_given", secrets.token_bytes)
    holders = {path.name for path in tmp_path.rglob("*.*") if "sk_given" in path.read_text("utf-8")}
    assert holders == {"backend.key"}


def test_secrets_are_closed_to_others(tmp_path: Path) -> None:
    init(tmp_path, None, None, secrets.token_bytes)
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "secrets").iterdir()}
    assert modes == {0o400}
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700


def test_the_policy_is_the_documented_one(tmp_path: Path) -> None:
    init(tmp_path, None, None, secrets.token_bytes)
    found = load(tmp_path / "einlass.toml")
    site = found.policy.sites["shop"]
    assert (site.domain, site.timezone, site.regime) == ("shop.example", "Europe/Berlin", "opt-in")
    assert found.policy.categories["marketing"] >= {"audience_sync", "identity_link"}
    assert found.policy.contact == {"email", "phone"}
    assert {name: target.kind for name, target in found.destinations.items()} == {
        "meta": "meta_audiences",
        "google": "google_data_manager",
    }
    assert {target.endpoint for target in found.destinations.values()} == {"sandbox"}
    assert found.audiences["high_interest"].destinations == ("meta", "google")


def test_each_notice_names_the_recipients_and_the_way_back(tmp_path: Path) -> None:
    init(tmp_path, None, None, secrets.token_bytes)
    german, english = (
        (tmp_path / f"notices/web.{tag}.md").read_text("utf-8") for tag in ("de", "en")
    )
    for text in (german, english):
        assert all(word in text for word in ("Shop GmbH", "Meta", "Google", "SHA-256", "13", "6"))
    assert "widerrufen" in german
    assert "withdraw" in english


def test_the_segments_are_the_four_of_the_demonstration(tmp_path: Path) -> None:
    init(tmp_path, None, None, secrets.token_bytes)
    definitions = read_yaml((tmp_path / "segments/shop.yaml").read_text("utf-8"))
    assert {definition.name: definition.purposes for definition in definitions} == {
        "high_interest": {"ads_personalised"},
        "cart_abandoners": {"ads_personalised", "audience_sync"},
        "high_value": {"audience_insight"},
        "regional": {"ads_personalised"},
    }


@pytest.mark.parametrize("name", sorted(NAMES))
def test_nothing_is_overwritten_and_nothing_written_beside_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine", "utf-8")
    with pytest.raises(SettingsError, match="exists already"):
        init(tmp_path, None, None, secrets.token_bytes)
    assert path.read_text("utf-8") == "mine"
    assert _names(tmp_path) == {name}


def test_a_dangling_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "einlass.toml").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingsError, match="exists already"):
        init(tmp_path, None, None, secrets.token_bytes)
    assert not (tmp_path / "elsewhere").exists()


def test_what_was_begun_is_taken_back(tmp_path: Path) -> None:
    # A file where the folder of the last secrets should be: the notices are written by then.
    (tmp_path / "secrets").write_text("", "utf-8")
    with pytest.raises(SettingsError, match="cannot be written"):
        init(tmp_path, None, None, secrets.token_bytes)
    assert {path.name for path in tmp_path.iterdir()} == {"secrets"}


@pytest.mark.parametrize("key", ["", "two words", "with:colon", "line\nbreak", "ü", "x" * 257])
def test_a_key_without_a_valid_form_is_refused_unshown(tmp_path: Path, key: str) -> None:
    with pytest.raises(SettingsError, match="write_key: must be") as caught:
        init(tmp_path / "shop", key, None, secrets.token_bytes)
    assert not key or key not in str(caught.value)
    assert not (tmp_path / "shop").exists()


def test_both_keys_must_differ(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="must differ"):
        init(tmp_path, "same", "same", secrets.token_bytes)
