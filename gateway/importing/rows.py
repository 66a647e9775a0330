"""Turns the cells of one row into what the door takes: an observation, a consent act, or both.

Raw identifiers pass through here and are kept nowhere. A row that says something unreadable is
malformed as a whole; the error names the column and never the value. Specification: docs/import.md.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import partial

import msgspec

from consent.detect import identifying
from consent.errors import MalformedIdentifierError
from consent.identifiers import Identifier, IdentifierType, identify
from consent.observation import Observation, Place
from consent.policy import Policy, SourcePolicy
from consent.pseudonym import References
from consent.state import Act, Kind
from gateway.collector.answers import read_offered
from gateway.commerce import commerce_properties
from gateway.errors import MalformedPayloadError
from gateway.importing.columns import Cells, Columns
from gateway.money import currency_code, minor_units
from gateway.timing import instant
from gateway.vocabulary import event_name

__all__ = ["Imported", "Reader", "instant_of"]

_LAST_MS = 253_402_300_799_999  # the end of the year 9999
_NAIVE_END = re.compile(r"(Z|[+-]\d{2}(:?\d{2})?)$", re.IGNORECASE)
_EPOCH = re.compile(r"\d{1,15}")
_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,9})?")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,79}")
_LIST = re.compile(r"[\s,;|]+")
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}
_MAX_ID = 128
_MAX_KNOWN = 1_000
_EVIDENCE = ("notice", "version", "language", "method")


@dataclass(frozen=True, slots=True)
class Imported:
    """What one row says: who, what they agreed to, and what happened; either may be missing."""

    identifiers: tuple[Identifier, ...]
    act: Act | None
    observation: Observation | None = field(repr=False)


def instant_of(value: object, column: str) -> int:
    """Return UTC milliseconds of epoch milliseconds or an ISO 8601 time with an offset.

    Raises:
        MalformedPayloadError: neither, or without an offset.
    """
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise MalformedPayloadError("a time without an offset", column)
        return _in_range(round(value.timestamp() * 1000), column)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is int:
        return _in_range(value, column)
    if not isinstance(value, str):
        raise MalformedPayloadError("not a time", column)
    text = value.strip()
    if _EPOCH.fullmatch(text):
        return _in_range(int(text), column)
    if not _NAIVE_END.search(text[10:]):
        raise MalformedPayloadError("a time without an offset", column)
    return instant(text, column)


def _in_range(found: int, column: str) -> int:
    if not 0 <= found <= _LAST_MS:
        raise MalformedPayloadError("outside the years 1970 to 9999", column)
    return found


class Reader:
    """Reads rows for one source. ``own``: consent rows are the person's own choices (replay)."""

    def __init__(
        self, policy: Policy, source: SourcePolicy, references: References, *, own: bool
    ) -> None:
        self._policy = policy
        self._source = source
        self._references = references
        self._region = policy.sites[source.site].region
        self._choice = Kind.OWN if own else Kind.IMPORT
        self._known: dict[tuple[tuple[str, str], ...], dict[str, bool]] = {}
        self._reachable: frozenset[str] = frozenset().union(*policy.categories.values())

    def read(self, columns: Columns, row: Mapping[str, object], received: int) -> Imported:
        """Return what a row says; ``received`` is UTC milliseconds.

        Raises:
            MalformedPayloadError: a required cell is empty or one cannot be read.
        """
        cells = columns.sort(row)
        missing = columns.missing(cells)
        if missing is not None:
            raise MalformedPayloadError("is empty", missing)
        try:
            identifiers = self._identifiers(cells.own)
            said = cells.own.get("t")
            t = received if said is None else min(instant_of(said, "t"), received)
            act = self._act(columns.kind, cells, (t, received))
            if columns.kind == "consents":
                return Imported(identifiers, act, None)
            observation = self._observation(columns, cells, (t, received))
        except UnicodeEncodeError as error:
            raise MalformedPayloadError("not UTF-8", "row") from error
        observation.identifiers = identifiers
        return Imported(identifiers, act, observation)

    # -- who and consent ------------------------------------------------------------------------

    def _identifiers(self, own: Mapping[str, object]) -> tuple[Identifier, ...]:
        try:
            kind = IdentifierType(str(own.get("person_type", "user_id")))
        except ValueError as error:
            raise MalformedPayloadError("not a type of identifier", "person_type") from error
        main = self._identifier(kind, own["person"], "person")
        device = own.get("anonymous_id")
        if device is None or kind is IdentifierType.ANONYMOUS_ID:
            return (main,)
        return (main, self._identifier(IdentifierType.ANONYMOUS_ID, device, "anonymous_id"))

    def _identifier(self, kind: IdentifierType, value: object, column: str) -> Identifier:
        try:
            return identify(kind, _text(value, column), self._region)
        except MalformedIdentifierError as error:
            raise MalformedPayloadError("not an identifier of its type", column) from error

    def _act(self, kind: str, cells: Cells, times: tuple[int, int]) -> Act | None:
        listed = cells.own.get("purposes")
        if not cells.consent and listed is None:
            return None
        offered = self._answers(cells.consent)
        if listed is not None:
            offered = offered | self._listed(listed, str(cells.own.get("notice", "")))
        return Act(
            kind=self._choice if kind == "consents" else Kind.IMPORT,
            answers=offered,
            t=times[0],
            received=times[1],
            source=self._source.name,
            evidence=self._evidence(cells.own),
        )

    def _answers(self, cells: Mapping[str, object]) -> dict[str, bool]:
        """Return the answer per leaf; files say few different things, so each is read once."""
        key = tuple((name, str(value)) for name, value in cells.items())
        found = self._known.get(key)
        if found is None:
            answers = {name: _truth(value, name) for name, value in cells.items()}
            found = read_offered(self._policy, answers, "") if answers else {}
            if len(self._known) < _MAX_KNOWN:
                self._known[key] = found
        return found

    def _listed(self, listed: object, notice: str) -> dict[str, bool]:
        """Read a list of what was granted: what was offered beside it was refused."""
        if isinstance(listed, str):
            names = [name for name in _LIST.split(listed.strip("[] ")) if name]
        elif isinstance(listed, list) and all(isinstance(name, str) for name in listed):
            names = listed
        else:
            raise MalformedPayloadError("not a list of purposes", "purposes")
        names = [name.strip("\"'") for name in names]
        granted = read_offered(self._policy, dict.fromkeys(names, True), "") if names else {}
        offered = self._policy.offers.get(notice, self._reachable)
        return dict(sorted((dict.fromkeys(offered, False) | granted).items()))

    def _evidence(self, own: Mapping[str, object]) -> dict[str, str | int | bool]:
        evidence: dict[str, str | int | bool] = {"method": "import"}
        for name in _EVIDENCE:
            if name in own:
                word = _text(own[name], name)
                if not _WORD.fullmatch(word):
                    raise MalformedPayloadError("not a short plain word", name)
                evidence[name] = word
        if "evidence" in own:
            text = _text(own["evidence"], "evidence")
            plain = _WORD.fullmatch(text) and not identifying(text, self._region)
            # Free text may name the person: its MAC still proves it to who can show the text.
            site = self._source.site
            evidence["evidence"] = text if plain else self._references.text(site, "evidence", text)
        return evidence

    # -- what happened --------------------------------------------------------------------------

    def _observation(self, columns: Columns, cells: Cells, times: tuple[int, int]) -> Observation:
        further = {name: _value(columns, name, value) for name, value in cells.further.items()}
        digest = self._digest(columns.kind, cells.own, further)
        build = partial(
            Observation,
            source=self._source.name,
            t=times[0],
            received=times[1],
            message_id=f"import.{columns.kind}.{digest.hex()}",
        )
        return _READERS[columns.kind](self, build, cells.own, further)

    def _digest(self, kind: str, own: Mapping[str, object], further: Mapping[str, object]) -> bytes:
        """Return a keyed digest that a second import of the same row repeats."""
        lasting = {name: value for name, value in own.items() if name != "received"}
        text = msgspec.json.encode([kind, lasting, further], order="sorted", enc_hook=str)
        return self._references.dedup(self._source.site, "import", text.decode())

    def read_event(
        self,
        build: Callable[..., Observation],
        own: Mapping[str, object],
        further: dict[str, object],
    ) -> Observation:
        """Read a row of an events file."""
        session = own.get("session")
        return build(
            name=event_name(_text(own["name"], "name"), "name"),
            message_id=_text(own["id"], "id"),
            session=None if session is None else _text(session, "session"),
            properties=commerce_properties(_object(own, "properties") | further),
            traits=_object(own, "traits"),
            place=Place(url=str(own.get("url", "")), referrer=str(own.get("referrer", ""))),
        )

    def read_person(
        self,
        build: Callable[..., Observation],
        own: Mapping[str, object],
        further: dict[str, object],
    ) -> Observation:
        """Read a row of a people file: an event that sets traits, and contact data."""
        return build(
            name="person_updated",
            traits=_object(own, "traits") | further,
            contact=self._contact(own),
        )

    def _contact(self, own: Mapping[str, object]) -> tuple[Identifier, ...]:
        found = []
        for kind in (IdentifierType.EMAIL, IdentifierType.PHONE):
            if kind in own:
                try:
                    found.append(self._identifier(kind, own[kind], kind))
                except MalformedPayloadError:
                    continue  # no address, so there is nothing to keep
        return tuple(found)

    def read_order(
        self,
        build: Callable[..., Observation],
        own: Mapping[str, object],
        further: dict[str, object],
    ) -> Observation:
        """Read a row of an orders file; with ``refund_of`` it is a refund."""
        order = _text(own["order_id"], "order_id")
        currency = currency_code(further["currency"])
        if currency is None:
            raise MalformedPayloadError("not a currency code (ISO 4217)", "currency")
        properties = commerce_properties(_object(own, "properties") | further)
        properties["order_id"] = order
        properties["value_minor"] = _worth(own, currency)
        name = "order_completed"
        if "refund_of" in own:
            name = "order_refunded"
            properties["refund_of"] = _text(own["refund_of"], "refund_of")
        return build(name=name, message_id=f"import.{name}.{order}", properties=properties)


_READERS: Mapping[str, Callable[..., Observation]] = {
    "events": Reader.read_event,
    "people": Reader.read_person,
    "orders": Reader.read_order,
}


def _text(value: object, column: str) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # writers of tables turn whole numbers into floats
    if type(value) is int:
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise MalformedPayloadError("not a text", column)
    text = value.strip()
    if len(text) > _MAX_ID:
        raise MalformedPayloadError("too long", column)
    return text


def _truth(value: object, column: str) -> bool:
    found = _TRUTHS.get(str(value).strip().lower()) if isinstance(value, str | int) else None
    if found is None:
        raise MalformedPayloadError("neither true nor false", column)
    return found


def _worth(own: Mapping[str, object], currency: str) -> int:
    if "value_minor" in own:
        given = own["value_minor"]
        if type(given) is int:
            return given
        text = str(given)
        if not re.fullmatch(r"-?\d{1,15}(\.0+)?", text):
            raise MalformedPayloadError("not a whole number", "value_minor")
        return int(text.partition(".")[0])
    found = minor_units(_plain(own["value"]), currency)
    if found is None:
        raise MalformedPayloadError("not an amount", "value")
    return found


def _value(columns: Columns, name: str, value: object) -> object:
    """Read one property or trait: texts that must be numbers, truths or lists become such."""
    value = _plain(value)
    if not isinstance(value, str):
        return value
    if name in {"items", "products"}:
        return _list(value, name)
    if name in columns.numbers or name.endswith("_minor"):
        text = value.strip()
        if not _NUMBER.fullmatch(text):
            raise MalformedPayloadError("not a number", name)
        return float(text) if "." in text else int(text)
    return {"true": True, "false": False}.get(value.lower(), value)


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Decimal) else value


def _list(text: str, column: str) -> list[object]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedPayloadError("not JSON", column) from error
    if not isinstance(found, list):
        raise MalformedPayloadError("not a list", column)
    return found


def _object(own: Mapping[str, object], column: str) -> dict[str, object]:
    found = own.get(column, {})
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except (ValueError, RecursionError) as error:
            raise MalformedPayloadError("not JSON", column) from error
    if not isinstance(found, dict):
        raise MalformedPayloadError("not an object", column)
    return found
