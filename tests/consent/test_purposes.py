"""Leaves and parents."""

import pytest

from consent.errors import UnknownPurposeError
from consent.purposes import GPC_REFUSES, LEAVES, PARENTS, LegalBasis, expand


def test_a_parent_means_all_its_leaves() -> None:
    assert expand(["personalization", "storage"], LEAVES, "x") == {
        "content_basic", "content_profile", "content_personalised", "storage",
    }  # fmt: skip


def test_an_unknown_name_is_an_error_that_names_the_field() -> None:
    with pytest.raises(UnknownPurposeError, match="answers"):
        expand(["analytics", "advertising"], LEAVES, "answers")


def test_gpc_refuses_every_ads_purpose_and_every_export() -> None:
    ads = {leaf for leaf in LEAVES if leaf.startswith("ads_")}
    assert ads | {"audience_sync", "lookalike"} == GPC_REFUSES == PARENTS["marketing"]


def test_only_necessary_stands_without_consent() -> None:
    free = {key for key, leaf in LEAVES.items() if leaf.basis is not LegalBasis.CONSENT}
    assert free == {"necessary"}
