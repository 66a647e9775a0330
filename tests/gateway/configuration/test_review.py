"""What a configuration that loads still promises and cannot keep."""

import secrets
from pathlib import Path

import pytest

from gateway.configuration.init import init
from gateway.configuration.loader import read
from gateway.configuration.review import Finding, Level, review


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return the path of a configuration without findings."""
    return init(tmp_path, None, None, secrets.token_bytes)[-1]


def _review(config: Path) -> list[Finding]:
    reading = read(config)
    assert reading.settings is not None, reading.problems
    return list(review(reading.document, reading.settings))


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


CASES = {
    "unreachable purpose of an event": (
        '[events.default]\npurposes = ["analytics", ',
        '[events.default]\npurposes = ["analytics", "geo_precise", ',
        "purpose_unreachable",
        '"geo_precise"',
        "nobody can grant 'geo_precise'",
    ),
    "unreachable purpose of one's own": (
        "[purposes.analytics]",
        '[purposes.research]\nretention = "P1Y"\n[purposes.analytics]',
        "purpose_unreachable",
        "[purposes.research]",
        "nobody can grant 'research'",
    ),
    "event that no notice offers": (
        'version = "3"',
        'offers = ["storage", "ads_measurement"]\nversion = "3"',
        "event_not_offered",
        'purposes = ["analytics", "audience_insight", "ads_personalised", "audience_sync"]',
        "no notice offers a purpose of events.default",
    ),
    "event without purposes": (
        "[events.order_refunded]",
        "[events.clicked]\npurposes = []\n[events.order_refunded]",
        "event_never_admitted",
        "purposes = []",
        "events.clicked needs no purpose",
    ),
    "event name almost known": (
        "[events.order_refunded]",
        "[events.order_refund]",
        "event_name_unusual",
        "[events.order_refund]",
        "did you mean 'order_refunded'?",
    ),
    "purpose name almost known": (
        "[purposes.audience_sync]",
        "[purposes.audience_snyc]",
        "purpose_name_unusual",
        "[purposes.audience_snyc]",
        "did you mean 'audience_sync'?",
    ),
    "several fields on one purpose": (
        "[vault]",
        '[fields.color]\npurposes = ["device_scan"]\n[vault]',
        "purpose_unreachable",
        "device_scan",
        "nobody can grant 'device_scan'",
    ),
    "property that identifies": (
        '["size", "color"]',
        '["size", "customerEmail"]',
        "field_may_identify",
        "customerEmail",
        "'customerEmail' sounds like something that identifies a person",
    ),
    "trait that identifies": (
        '"age_band"',
        '"last_name"',
        "field_may_identify",
        "last_name",
        "traits: 'last_name' sounds like",
    ),
    "public source without origins": (
        'origins = ["https://shop.example"]',
        "",
        "source_without_origins",
        "[sources.web]",
        "only listed origins get a CORS answer",
    ),
    "public key like a secret": (
        'key = "wk_',
        'key = "sk_',
        "public_key_looks_secret",
        'key = "sk_',
        "begins like a secret one",
    ),
    "site without controller": (
        "controller = ",
        "# controller = ",
        "controller_missing",
        "[site.shop]",
        "names no controller",
    ),
    "segment of an audience": (
        'segment = "high_interest"',
        'segment = "high_interst"',
        "segment_unknown",
        'segment = "high_interst"',
        "did you mean 'high_interest'?",
    ),
}


def test_what_init_writes_has_no_findings(config: Path) -> None:
    assert _review(config) == []


@pytest.mark.parametrize("case", CASES)
def test_a_doubtful_setting_is_named_with_its_line(config: Path, case: str) -> None:
    old, new, code, marker, message = CASES[case]
    _edit(config, old, new)
    lines = config.read_text("utf-8").splitlines()
    line = next(number for number, found in enumerate(lines, 1) if marker in found)
    found = {finding.code: finding for finding in _review(config)}[code]
    assert message in found.message
    assert (found.file, found.line) == (str(config), line)


def test_a_short_server_key_is_doubtful(tmp_path: Path) -> None:
    config = init(tmp_path, None, "short", secrets.token_bytes)[-1]
    assert [finding.code for finding in _review(config)] == ["server_key_short"]
    assert "short" not in _review(config)[0].message.split()


def test_contact_data_that_nobody_can_allow_is_doubtful(config: Path) -> None:
    _edit(config, 'marketing = ["marketing", ', 'marketing = ["lookalike", ')
    assert "vault_unused" in {finding.code for finding in _review(config)}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("- [", "not YAML"),
        ("- 1", "[0]"),
        ("- {name: a, purposes: [ads_personalized], where: {}}", "ads_personalized"),
        ("", ""),
        ("\xff", "UnicodeDecodeError"),
    ],
)
def test_definitions_that_cannot_be_read_are_an_error(
    config: Path, content: str, reason: str
) -> None:
    path = config.parent / "segments/shop.yaml"
    path.write_text(content, "latin-1")
    found = {finding.code: finding for finding in _review(config)}["segments_invalid"]
    assert (found.level, found.file) == (Level.ERROR, str(path))
    assert reason in found.message


def test_a_trait_that_is_not_declared_is_an_error(config: Path) -> None:
    _edit(config, '"region", ', "")
    assert "segments_invalid" in {finding.code for finding in _review(config)}


def test_a_segment_for_what_nobody_can_grant_is_doubtful(config: Path) -> None:
    _edit(config.parent / "segments/shop.yaml", "audience_insight", "geo_precise")
    assert [finding.code for finding in _review(config)] == ["segment_unreachable"]


def test_a_name_in_two_files_is_an_error(config: Path) -> None:
    shop = config.parent / "segments/shop.yaml"
    shop.with_name("more.yaml").write_bytes(shop.read_bytes())
    _edit(config, '["segments/shop.yaml"]', '["segments/shop.yaml", "segments/more.yaml"]')
    found = _review(config)
    assert {finding.code for finding in found} == {"segment_twice"}
    assert f"'high_interest' is defined in {shop} already" in found[0].message


def test_a_purpose_that_needs_no_consent_is_not_missed_in_categories(config: Path) -> None:
    new = '[purposes.fraud_prevention]\nbasis = "legitimate_interest"\n[purposes.analytics]'
    _edit(config, "[purposes.analytics]", new)
    assert _review(config) == []
