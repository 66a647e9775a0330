"""Money as trackers send it (decimal numbers or texts) to integer minor units.

It must not know protocols or events. Digits after the point per currency: ISO 4217 (list one);
rounding is half to even on the decimal text, never on the binary fraction.
"""

import re
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache

__all__ = ["currency_code", "minor_units"]

_USUAL_DIGITS = 2
_DIGITS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG"), 0),
    **dict.fromkeys(("RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}
_CODE = re.compile(r"[A-Z]{3}")
_MAX_TEXT = 32
_AMOUNT = re.compile(r"[+-]?\d{1,16}(\.\d{1,20})?(e[+-]?\d{1,2})?", re.ASCII | re.IGNORECASE)
_MAX_MINOR = 2**53  # sums of JSON numbers stay exact for every reader


def currency_code(value: object) -> str | None:
    """Return an upper-case ISO 4217 code, or None if ``value`` has not the shape of one."""
    return _code(value) if type(value) is str and len(value) <= _MAX_TEXT else None


@lru_cache(maxsize=256)
def _code(text: str) -> str | None:
    code = text.strip().upper()
    return code if _CODE.fullmatch(code) else None


def minor_units(value: object, currency: str | None) -> int | None:
    """Return ``value`` in minor units of ``currency`` (two digits if None), None if unreadable.

    Numbers are read as the shortest decimal text that means them, so 1.005 is exactly that.
    Negative amounts are kept: refunds send them.
    """
    if type(value) is float or type(value) is int:
        return _scaled(value, currency)
    if type(value) is str and len(value) <= _MAX_TEXT:
        return _scaled(value, currency)
    return None  # a truth value is no amount either


@lru_cache(maxsize=16_384)  # prices recur; the decimal arithmetic is slower than the look-up
def _scaled(value: float | str, currency: str | None) -> int | None:
    text = str(value)
    if not _AMOUNT.fullmatch(text):
        return None
    amount = Decimal(text)
    if abs(amount) >= _MAX_MINOR:
        return None
    digits = _DIGITS.get(currency or "", _USUAL_DIGITS)
    scaled = int(amount.scaleb(digits).to_integral_value(ROUND_HALF_EVEN))
    return scaled if abs(scaled) < _MAX_MINOR else None
