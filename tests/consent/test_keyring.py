"""The key ring: made once, closed to others, and each role sees its own keys only."""

from pathlib import Path

import pytest

from consent.errors import KeyringError
from consent.keyring import COURIER, ENGINE, FRONT, Keyring, create, exists


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "keys"
    create(made)
    return made


def test_a_key_ring_is_a_closed_folder_of_files_nobody_can_change(folder: Path) -> None:
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o400}


def test_a_key_ring_exists_once_it_is_made(folder: Path, tmp_path: Path) -> None:
    assert exists(folder)
    assert not exists(tmp_path)


def test_a_key_ring_is_never_made_over_another(folder: Path) -> None:
    before = (folder / "master.key").read_text()
    with pytest.raises(KeyringError):
        create(folder)
    assert (folder / "master.key").read_text() == before


def test_all_keys_differ(folder: Path) -> None:
    lines = [path.read_text().splitlines()[1] for path in folder.iterdir()]
    assert len(set(lines)) == len(lines)


@pytest.mark.parametrize("role", [FRONT, ENGINE, COURIER])
def test_every_role_finds_its_keys(folder: Path, role: tuple[str, ...]) -> None:
    assert len({Keyring(folder, role).derive(name, "x") for name in role}) == len(role)


@pytest.mark.parametrize(
    ("role", "key"), [(FRONT, "vault"), (ENGINE, "vault"), (ENGINE, "signing")]
)
def test_a_role_does_not_hold_what_is_not_its_own(
    folder: Path, role: tuple[str, ...], key: str
) -> None:
    with pytest.raises(KeyringError, match="does not hold"):
        Keyring(folder, role).derive(key, "x")


def test_the_front_cannot_open_the_vault(folder: Path) -> None:
    with pytest.raises(KeyringError):
        Keyring(folder, FRONT).vault_private()


def test_the_couriers_private_key_fits_the_fronts_public_one(folder: Path) -> None:
    private = Keyring(folder, COURIER).vault_private()
    public = Keyring(folder, FRONT).vault_public()
    assert private.public_key().public_bytes_raw() == public.public_bytes_raw()


def test_subkeys_differ_by_key_and_label(folder: Path) -> None:
    ring = Keyring(folder, FRONT)
    subkeys = {ring.derive(name, label) for name in ("master", "references") for label in "ab"}
    assert len(subkeys) == 4
    assert ring.derive("master", "a") == ring.derive("master", "a")


def test_the_signing_key_signs(folder: Path) -> None:
    private = Keyring(folder, FRONT).signing()
    private.public_key().verify(private.sign(b"x"), b"x")


def test_a_key_ring_shows_names_and_no_key(folder: Path) -> None:
    ring = Keyring(folder, ("master",))
    assert repr(ring) == "<Keyring ['master']>"


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o644])
def test_a_key_that_others_can_read_is_refused(folder: Path, mode: int) -> None:
    (folder / "master.key").chmod(mode)
    with pytest.raises(KeyringError, match="readable by others"):
        Keyring(folder, ("master",))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "einlass-key v1 master\n",
        "einlass-key v1 other\n" + "00" * 32 + "\n",
        "einlass-key v2 master\n" + "00" * 32 + "\n",
        "einlass-key v1 master\n" + "00" * 31 + "\n",
        "einlass-key v1 master\nnot hex\n",
        "einlass-key v1 master\n" + "00" * 32 + "\nmore\n",
        "ü",
    ],
)
def test_what_is_no_key_file_is_refused_without_being_shown(folder: Path, text: str) -> None:
    path = folder / "master.key"
    path.chmod(0o600)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o400)
    with pytest.raises(KeyringError) as caught:
        Keyring(folder, ("master",))
    assert "00000" not in str(caught.value)


def test_a_missing_key_is_an_error_that_names_it(folder: Path) -> None:
    (folder / "console.key").unlink()
    with pytest.raises(KeyringError, match="console"):
        Keyring(folder, ENGINE)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyringError, match="cannot create"):
        create(tmp_path / "file" / "keys")


def test_a_key_ring_that_was_begun_is_completed_and_keeps_its_keys(folder: Path) -> None:
    before = (folder / "master.key").read_text()
    for name in ("vault.key", "vault.pub.key"):
        (folder / name).unlink()
    (folder / "vault.new").write_text("torn")
    assert not exists(folder)
    create(folder)
    assert exists(folder)
    assert (folder / "master.key").read_text() == before
    assert not (folder / "vault.new").exists()
