"""What a sound configuration means."""

import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from consent.policy import ECOMMERCE_PROPERTIES
from consent.purposes import PARENTS, LegalBasis
from gateway.configuration.init import init
from gateway.settings import Limits, load


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return the path of a sound configuration."""
    return init(tmp_path / "shop", "wk_test", "sk_" + "5" * 40, secrets.token_bytes)[-1]


def _edit(config: Path, old: str, new: str) -> None:
    """Change the first place that is not in a comment."""
    text = config.read_text("utf-8")
    if old.startswith("[") and '"' not in old:
        old, new = f"\n{old}", f"\n{new}"
    assert old in text
    config.write_text(text.replace(old, new, 1), "utf-8")


def test_categories_reach_the_leaves_they_name(config: Path) -> None:
    categories = load(config).policy.categories
    assert categories == {
        "functional": {"storage", "functional"},
        "analytics": {"storage", "analytics", "product_improvement", "audience_insight"},
        "marketing": PARENTS["marketing"] | {"identity_link"},
    }


def test_a_notice_offers_by_default_what_the_categories_reach(config: Path) -> None:
    policy = load(config).policy
    assert policy.offers["web"] == frozenset().union(*policy.categories.values())


def test_given_offers_replace_the_default(config: Path) -> None:
    _edit(config, "# offers = [...]", 'offers = ["analytics"]')
    assert load(config).policy.offers["web"] == {"analytics"}


def test_a_name_that_is_not_declared_uses_the_default(config: Path) -> None:
    policy = load(config).policy
    assert policy.declared_for("product_viewed") == {
        "analytics", "audience_insight", "ads_personalised", "audience_sync",
    }  # fmt: skip
    assert policy.declared_for("order_completed") - policy.default == {"ads_measurement"}


def test_purposes_are_laid_over_the_built_in_ones(config: Path) -> None:
    _edit(config, 'basis = "consent"', 'basis = "legitimate_interest"')
    leaves = load(config).policy.leaves
    assert leaves["analytics"].basis is LegalBasis.LEGITIMATE_INTEREST
    assert leaves["analytics"].tcf == 8
    assert leaves["audience_sync"].recipients == ("meta", "google")
    assert leaves["audience_sync"].retention == "P6M"
    assert leaves["lookalike"].parent == "marketing"


def test_a_new_leaf_may_found_a_parent_of_its_own(config: Path) -> None:
    _edit(
        config,
        "[categories]",
        '[purposes.dunning]\nparent = "credit"\n[categories]\nc = ["credit"]',
    )
    assert load(config).policy.categories["c"] == {"dunning"}


def test_declared_properties_stand_beside_the_vocabulary(config: Path) -> None:
    policy = load(config).policy
    assert policy.properties == ECOMMERCE_PROPERTIES | {"size", "color"}
    assert policy.traits == {"region", "age_band", "subscribed_email"}
    assert policy.contact == {"email", "phone"}


def test_a_source_narrows(config: Path) -> None:
    _edit(config, 'trust = "public"', 'purposes = ["measurement"]\ntrust = "public"')
    policies = load(config).policy.sources
    assert policies["web"].narrow == PARENTS["measurement"]
    assert policies["backend"].narrow == frozenset()


def test_fields_have_purposes(config: Path) -> None:
    _edit(config, "[vault]", '[fields.color]\npurposes = ["analytics"]\n[vault]')
    assert load(config).policy.fields == {"color": {"analytics"}}


def test_an_event_may_be_refused_for_good(config: Path) -> None:
    _edit(
        config,
        "[events.order_refunded]",
        "[events.clicked]\npurposes = []\n[events.order_refunded]",
    )
    assert load(config).policy.declared_for("clicked") == frozenset()


def test_destinations_keep_their_own_keys_as_options(config: Path) -> None:
    _edit(config, 'account = "1234"', 'account = "1234"\nversion = "v26.0"')
    meta = load(config).destinations["meta"]
    assert meta.options == {"account": "1234", "audience": "5678", "version": "v26.0"}
    assert meta.token_file == config.parent / "secrets/meta.token"


def test_a_secret_option_is_the_path_of_a_closed_file(config: Path) -> None:
    path = config.parent / "secrets/app.secret"
    path.write_text("s", "utf-8")
    path.chmod(0o400)
    _edit(config, 'account = "1234"', 'app_secret_file = "secrets/app.secret"')
    assert load(config).destinations["meta"].options["app_secret_file"] == str(path)


@pytest.mark.parametrize(
    "endpoint", ["https://platform.example:8443/base", "http://127.0.0.1:9", "http://[::1]:9"]
)
def test_an_endpoint_is_https_or_this_machine(config: Path, endpoint: str) -> None:
    _edit(config, 'endpoint = "sandbox"', f'endpoint = "{endpoint}"')
    assert load(config).destinations["meta"].endpoint == endpoint


def test_paths_are_relative_to_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(config.parent.parent)
    found = load(Path(config.parent.name) / config.name)
    assert found.path == config
    assert found.segment_files == (config.parent / "segments/shop.yaml",)
    assert found.notices["web"].languages["de"] == config.parent / "notices/web.de.md"


def test_limits_may_be_raised(config: Path) -> None:
    _edit(config, "min_audience = 50", "min_audience = 500")
    assert load(config).limits == Limits(min_audience=500)


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("https://Shop.Example:8443", "https://shop.example:8443"),
        ("https://shop.example:443", "https://shop.example"),
        ("http://localhost:80", "http://localhost"),
        ("http://shop.example:443", "http://shop.example:443"),
        ("http://[::1]:3000", "http://[::1]:3000"),
    ],
)
def test_an_origin_is_kept_as_browsers_send_it(config: Path, written: str, sent: str) -> None:
    _edit(config, "https://shop.example", written)
    assert load(config).sources["web"].origins == (sent,)


def test_trusted_hosts_are_folded(config: Path) -> None:
    _edit(config, "[site.shop]", 'trusted_hosts = ["Collect.Shop.Example", "[::1]"]\n[site.shop]')
    assert load(config).trusted_hosts == ("collect.shop.example", "[::1]")


def test_the_smallest_file_loads(tmp_path: Path) -> None:
    path = tmp_path / "einlass.toml"
    text = '[site.a]\ndomain = "a.example"\ntimezone = "UTC"\n[events.default]\npurposes = []\n'
    path.write_text(text, "utf-8")
    found = load(path)
    assert (found.limits, found.sandbox_port, found.controllers) == (Limits(), 8089, {})


def test_loading_imports_nothing_heavy() -> None:
    code = (
        "import sys, gateway.settings;"
        "heavy = {'yaml', 'typer', 'rich', 'httpx', 'sqlalchemy', 'sqlmodel', 'duckdb', 'ibis'};"
        "sys.exit(', '.join(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_no_secret_is_in_the_repr_of_settings(config: Path) -> None:
    found = load(config)
    shown = repr(found)
    assert found.sources["backend"].key == "sk_" + "5" * 40
    assert found.sources["backend"].key not in shown
    assert found.sources["web"].key not in shown
