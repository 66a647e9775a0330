"""Every mistake in the configuration is named with its line, and no message shows a secret."""

import secrets
import string
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gateway.configuration.document import Document
from gateway.configuration.init import init
from gateway.configuration.loader import read
from gateway.configuration.schema import TABLES
from gateway.errors import SettingsError
from gateway.settings import load

VECTORS = Path(__file__).parents[2] / "vectors" / "settings" / "faults.toml"
FAULTS: dict[str, dict[str, str]] = tomllib.loads(VECTORS.read_text("utf-8"))


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


def _line(config: Path, marker: str) -> int:
    lines = config.read_text("utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if marker in line)


def _fault(config: Path) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load(config)
    return caught.value


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_named_with_field_line_and_reason(config: Path, case: str) -> None:
    fault = FAULTS[case]
    _edit(config, fault["old"], fault["new"])
    error = _fault(config)
    assert (error.field, error.line) == (fault["field"], _line(config, fault["marker"]))
    assert str(error).startswith(f"{config}:{error.line}: {fault['field']}: ")
    assert fault["reason"] in str(error)
    assert error.hint


def test_a_file_without_a_site_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "einlass.toml"
    path.write_text('[events.default]\npurposes = ["analytics"]\n', "utf-8")
    assert "[site.NAME] is missing" in str(_fault(path))


def test_a_value_in_place_of_a_table_is_refused(config: Path) -> None:
    _edit(config, "[sandbox]\nport = 8089", "")
    config.write_text("sandbox = 3\n" + config.read_text("utf-8"), "utf-8")
    assert "sandbox: must be a table, not a whole number" in str(_fault(config))


def test_a_missing_default_without_a_likely_slip_is_refused(config: Path) -> None:
    _edit(config, "[events.default]", "[events.zzz]")
    error = _fault(config)
    assert "[events.default] is missing" in str(error)
    assert "did you mean" not in str(error)


def test_equal_write_keys_are_refused_without_showing_them(config: Path) -> None:
    key = "shared-key-of-two-sources"
    _edit(config, "wk_test", key)
    _replace(config.parent / "secrets/backend.key", key)
    error = _fault(config)
    assert "sources.backend: has the same write key as the source 'web'" in str(error)
    assert key not in str(error)


def _replace(path: Path, text: str, mode: int = 0o400) -> None:
    path.unlink()
    path.write_text(text, "utf-8")
    path.chmod(mode)


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o444, 0o620, 0o601])
@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("secrets/backend.key", "sources.backend.key_file"),
        ("secrets/meta.token", "destinations.meta.token_file"),
    ],
)
def test_a_secret_open_to_others_is_refused(config: Path, name: str, field: str, mode: int) -> None:
    path = config.parent / name
    path.chmod(mode)
    error = _fault(config)
    assert error.field == field
    assert f"{path.name} is open to others (mode {mode:04o})" in str(error)
    assert error.hint == f"chmod 0400 {path}"


@pytest.mark.parametrize("content", ["", "two words", "x" * 257, "smörgås", "\0" * 10_000])
def test_a_key_file_must_hold_one_key(config: Path, content: str) -> None:
    _replace(config.parent / "secrets/backend.key", content)
    assert "must hold one key" in str(_fault(config))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    error = _fault(tmp_path / "none.toml")
    assert "none.toml: cannot be read: No such file or directory" in str(error)
    assert "einlass init" in error.hint


def test_broken_toml_is_named_with_its_line(config: Path) -> None:
    _edit(config, "[sandbox]", "[sandbox")
    error = _fault(config)
    assert error.line == _line(config, "[sandbox")


def test_toml_that_ends_too_early_is_blamed_on_the_last_line(tmp_path: Path) -> None:
    path = tmp_path / "einlass.toml"
    path.write_text('a = 1\nb = """', "utf-8")
    assert _fault(path).line == 2


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "einlass.toml"
    path.write_bytes(b'a = "\xff"')
    assert "not UTF-8" in str(_fault(path))


def test_every_fault_is_found_in_one_pass(config: Path) -> None:
    _edit(config, "regime =", "regmie =")
    _edit(config, "port = 8089", "port = 0")
    _edit(config, '"P6M"', '"6M"')
    fields = {problem.field for problem in read(config).problems}
    assert fields == {"site.shop.regmie", "sandbox.port", "purposes.audience_sync.retention"}


def test_a_misspelled_required_key_is_not_reported_as_missing_too(config: Path) -> None:
    _edit(config, "domain =", "domian =")
    assert [problem.field for problem in read(config).problems] == ["site.shop.domian"]


SECRET = "sk_live_4242424242"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('key = "wk_test"', f'key_file = "{SECRET}"'),
        ('key_file = "secrets/backend.key"', f'key = "{SECRET}"'),
        ('trust = "server"', f'trust = "{SECRET}"'),
        ('site = "shop"', f'site = "{SECRET}"'),
        ('basis = "consent"', f'basis = "{SECRET}"'),
        ('"Europe/Berlin"', f'"{SECRET}"'),
        ('["email", "phone"]', f'["{SECRET}"]'),
        ('account = "1234"', f'access_token = "{SECRET}"'),
        ('endpoint = "sandbox"', f'endpoint = "https://x:{SECRET}@platform.example"'),
    ],
)
def test_no_problem_shows_a_secret(config: Path, old: str, new: str) -> None:
    _edit(config, old, new)
    problems = read(config).problems
    assert problems
    assert not [problem for problem in problems if SECRET in f"{problem.reason}{problem.hint}"]


# --- any single slip ---------------------------------------------------------------------------


def _known_keys(values: object, kind: str, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if not isinstance(values, dict):
        return
    for key, value in values.items():
        known = key in TABLES.get(kind, ())
        if known:
            yield (*path, key)
        inner = key if known or kind == "" else "*"
        yield from _known_keys(value, f"{kind}.{inner}" if kind else inner, (*path, key))


@st.composite
def _slips(draw: st.DrawFn, key: str) -> str:
    at = draw(st.integers(0, len(key) - 1))
    letter = draw(st.sampled_from(string.ascii_letters + "_-"))
    return draw(
        st.sampled_from(
            [
                key[:at] + key[at + 1 :],
                key[:at] + letter + key[at:],
                key[:at] + letter + key[at + 1 :],
                key[:at] + key[at + 1 : at + 2] + key[at] + key[at + 2 :],
            ]
        )
    )


@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_misspelled_key_gets_its_line_and_a_suggestion(
    config: Path, data: st.DataObject
) -> None:
    document = Document.read(config)
    keys = sorted(set(_known_keys(document.values, "", ())))
    path = data.draw(st.sampled_from(keys))
    slip = data.draw(_slips(path[-1]))
    assume(slip not in {known for table in TABLES.values() for known in table})
    lines = config.read_text("utf-8").splitlines()
    number = document.line(*path)
    lines[number - 1] = lines[number - 1].replace(path[-1], slip, 1)
    copy = config.with_name("slip.toml")
    copy.write_text("\n".join(lines), "utf-8")
    error = _fault(copy)
    assert error.line == number
    assert f"did you mean {path[-1]!r}?" in str(error)
