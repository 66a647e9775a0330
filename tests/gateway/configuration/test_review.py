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
    text = config.read_text("utf-8")
    assert old in text
    config.write_text(text.replace(old, new, 1), "utf-8")
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
    text = config.read_text("utf-8")
    text = text.replace('marketing = ["marketing", ', 'marketing = ["lookalike", ')
    config.write_text(text, "utf-8")
    assert "vault_unused" in {finding.code for finding in _review(config)}


@pytest.mark.parametrize("content", ["- [", "- 1", "- {where: {}}", "name: x", "\xff"])
def test_segments_that_cannot_be_read_are_an_error(config: Path, content: str) -> None:
    (config.parent / "segments/shop.yaml").write_text(content, "latin-1")
    found = {finding.code: finding for finding in _review(config)}
    assert found["segments_unreadable"].level is Level.ERROR


def test_an_empty_segment_file_only_lacks_the_segment(config: Path) -> None:
    (config.parent / "segments/shop.yaml").write_text("", "utf-8")
    assert [finding.code for finding in _review(config)] == ["segment_unknown"]


def test_a_purpose_that_needs_no_consent_is_not_missed_in_categories(config: Path) -> None:
    text = config.read_text("utf-8").replace(
        "[purposes.analytics]",
        '[purposes.fraud_prevention]\nbasis = "legitimate_interest"\n[purposes.analytics]',
    )
    config.write_text(text, "utf-8")
    assert _review(config) == []
