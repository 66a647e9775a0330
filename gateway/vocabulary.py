"""Names of events: what trackers call them to the one snake_case vocabulary.

It must not know consent, and no wire format: spellings of several protocols stand in one table.
Sources: Segment "Spec: V2 Ecommerce Events" (and V1), Google Analytics 4 "Recommended events".
"""

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from consent.detect import identifying
from gateway.errors import MalformedPayloadError

__all__ = ["CANONICAL_NAMES", "CONSENT_UPDATED", "event_name"]

CONSENT_UPDATED = "consent_updated"
"""An event that only tells about consent."""

CANONICAL_NAMES: frozenset[str] = frozenset(
    {
        "page_viewed", "screen_viewed", "product_list_viewed", "product_viewed", "added_to_cart",
        "removed_from_cart", "cart_viewed", "checkout_started", "checkout_step_completed",
        "payment_added", "order_completed", "order_refunded", "order_cancelled", "searched",
        "coupon_applied", "promotion_viewed", "promotion_clicked", "wishlist_added", "signed_up",
        "logged_in", "lead_submitted", "form_started", "form_submitted", "clicked", "scrolled",
        "time_on_page", "exit_intent", "video_started", "video_completed", "shared",
        "social_liked", "social_commented", "email_delivered", "email_opened", "email_clicked",
        "email_bounced", "email_unsubscribed", "email_complained", "subscription_started",
        "subscription_renewed", "subscription_cancelled", "feature_used", "crm_stage_changed",
        "person_updated", "group_updated", CONSENT_UPDATED,
    }
)  # fmt: skip
"""The vocabulary; other names are custom ones."""

_SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "page_viewed": ("page_view", "pageview"),
    "screen_viewed": ("screen_view",),
    "product_list_viewed": ("view_item_list", "viewed_product_category"),
    "product_viewed": ("view_item", "viewed_product"),
    "added_to_cart": ("product_added", "add_to_cart", "added_product"),
    "removed_from_cart": ("product_removed", "remove_from_cart", "removed_product"),
    "cart_viewed": ("view_cart", "viewed_cart"),
    "checkout_started": ("begin_checkout", "started_checkout"),
    "payment_added": ("payment_info_entered", "add_payment_info"),
    "order_completed": ("purchase", "completed_order"),
    "order_refunded": ("refund", "refunded_order"),
    "order_cancelled": ("order_canceled",),
    "searched": ("products_searched", "search", "view_search_results"),
    "promotion_viewed": ("view_promotion", "viewed_promotion"),
    "promotion_clicked": ("select_promotion", "clicked_promotion"),
    "wishlist_added": ("add_to_wishlist", "product_added_to_wishlist"),
    "signed_up": ("sign_up",),
    "logged_in": ("signed_in", "login"),
    "lead_submitted": ("generate_lead",),
    "form_started": ("form_start",),
    "form_submitted": ("form_submit",),
    "clicked": ("click",),
    "scrolled": ("scroll",),
    "video_started": ("video_start", "video_playback_started"),
    "video_completed": ("video_complete", "video_playback_completed"),
    "shared": ("share", "product_shared", "cart_shared"),
    "email_clicked": ("email_link_clicked",),
    "email_unsubscribed": ("unsubscribed",),
    "email_complained": ("email_marked_as_spam",),
    "subscription_cancelled": ("subscription_canceled",),
    CONSENT_UPDATED: ("segment_consent_preference_updated", "consent_management_interaction"),
}
_CANONICAL: Mapping[str, str] = MappingProxyType(
    {spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings}
)

_MAX_SENT = 256
_MAX_NAME = 64
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NOT_NAME = re.compile(r"[^a-z0-9]+")
_DIGIT = re.compile(r"\d")
_MAX_DIGITS = 6


def event_name(sent: str, field: str = "event") -> str:
    """Return the canonical name, or a custom name folded to ``[a-z0-9_]``, at most 64 characters.

    Case, spaces and punctuation do not matter; letters beyond ASCII lose their marks.

    Raises:
        MalformedPayloadError: nothing is left, it is too long, or it looks like an identifier.
    """
    if len(sent) > _MAX_SENT:
        raise MalformedPayloadError("name is too long", field)
    return _event_name(sent, field)


@lru_cache(maxsize=4096)  # a site has few names; the bound is for those who invent them
def _event_name(sent: str, field: str) -> str:
    # Folding turns "max@shop.example" into words that no detector finds behind it: look before.
    if identifying(sent) or len(_DIGIT.findall(sent)) > _MAX_DIGITS:
        raise MalformedPayloadError("name looks like an identifier", field)
    folded = _fold(sent)
    if not folded:
        raise MalformedPayloadError("name is empty", field)
    if len(folded) > _MAX_NAME:
        raise MalformedPayloadError("name is too long", field)
    return _CANONICAL.get(folded, folded)


def _fold(sent: str) -> str:
    # Humps first, for casefold removes them. It opens the sharp s; NFKD may bring capitals back.
    spaced = _HUMP.sub(" ", sent)
    plain = unicodedata.normalize("NFKD", spaced.casefold()).casefold()
    # Marks go without a trace; other letters that have no ASCII form separate words.
    unmarked = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return _NOT_NAME.sub("_", unmarked).strip("_")
