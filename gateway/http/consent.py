"""The consent API: record a choice, withdraw it, read it back (contracts: consent API).

A grant needs the device secret of the first answer, a server key or an identity proof; a
withdrawal needs only a key and an id. The answer to a withdrawal waits until every send that
checked consent before it has ended, or says ``pending``.
"""

import re
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from consent.detect import identifying
from consent.errors import MalformedIdentifierError
from consent.identifiers import Identifier, IdentifierType, identify
from consent.ledger.entry import Signer
from consent.policy import Policy, SourcePolicy, Trust
from consent.state import Act, Kind
from gateway.collector.access import Access
from gateway.collector.answers import read_offered, read_withdrawn
from gateway.collector.choices import Choices, Recorded, Stated
from gateway.collector.door import Door
from gateway.collector.history import History
from gateway.configuration.shapes import Settings
from gateway.errors import ForbiddenError, MalformedPayloadError, UnprocessableError
from gateway.http.collect import REFUSAL_COOKIE
from gateway.http.cors import name_source
from gateway.http.limits import inflate, read_body
from gateway.strictjson import check_json_bounds, strict_twins

__all__ = ["ConsentApi", "Drain", "Receipts"]

Drain = Callable[[int], Awaitable[bool]]
_T = TypeVar("_T")
_METHOD = re.compile(r"[A-Za-z]{1,24}(?:[ _-][A-Za-z]{1,24}){0,3}")
_UI_HASH = re.compile(r"sha256:[0-9a-f]{1,64}")
_WHOLE_UI_HASH = len("sha256:") + 64
_MAX_LAYER = 99
_COOKIE_SECONDS = 15_552_000
"""Six months: a refusal is not asked again sooner."""


_RETRY_ID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


class _Who(msgspec.Struct, kw_only=True):
    anonymous_id: str | None = None
    user_id: str | None = None
    identity_proof: str | None = None

    def __repr__(self) -> str:
        """Show no identifier."""
        return f"<{type(self).__name__}>"


class _Signals(msgspec.Struct):
    gpc: bool = False


class _Choice(_Who, kw_only=True):
    answers: dict[str, bool]
    notice: str = ""
    version: str = ""
    language: str = ""
    method: str = "banner"
    layer: int = 1
    ui_hash: str = ""
    gpc_ack: bool = False
    retry_id: str = ""
    signals: _Signals = msgspec.field(default_factory=_Signals)


class _Withdrawal(_Who, kw_only=True):
    purposes: list[str] | str


class ConsentApi:
    """The three calls. ``drain`` answers whether every older send has ended."""

    def __init__(
        self,
        settings: Settings,
        access: Access,
        door: Door,
        *,
        choices: Choices,
        history: History,
        receipts: "Receipts",
    ) -> None:
        self._settings = settings
        self._policy: Policy = settings.policy
        self._door = door
        self._choices = choices
        self._access = access
        self._receipts = receipts
        self._history = history

    async def record(self, request: Request) -> Response:
        """``POST /v1/consent``: record the answers to everything that was offered."""
        source = self._source(request)
        body = await self._body(request, _Choice)
        answers = read_offered(self._policy, body.answers, body.notice)
        evidence = self._evidence(body, granting=any(answers.values()))
        act = Act(
            kind=Kind.OWN,
            answers=answers,
            t=(now := self._door.clock()),
            received=now,
            source=source.name,
            gpc=body.signals.gpc or request.headers.get("sec-gpc") == "1",
            gpc_acknowledged=body.gpc_ack,
            evidence=evidence,
        )
        return await self._answer(self._stated(request, source, body, act), HTTPStatus.CREATED)

    async def withdraw(self, request: Request) -> Response:
        """``POST /v1/consent/withdraw``: take back some purposes or all."""
        source = self._source(request)
        body = await self._body(request, _Withdrawal)
        act = Act(
            kind=Kind.WITHDRAW,
            answers=dict.fromkeys(read_withdrawn(self._policy, body.purposes), False),
            t=(now := self._door.clock()),
            received=now,
            source=source.name,
            evidence={"method": "withdrawal"},
        )
        stated = self._stated(request, source, body, act)
        if not stated.identifiers:
            raise UnprocessableError("an id is needed", "anonymous_id")
        return await self._answer(stated, HTTPStatus.OK)

    async def read(self, request: Request) -> Response:
        """``GET /v1/consent``: current answers and history, for the device or a server key."""
        source = self._source(request)
        query = request.query_params
        who = _Who(anonymous_id=query.get("anonymous_id"), user_id=query.get("user_id"))
        who.identity_proof = query.get("identity_proof")
        identifiers, trusted = self._identifiers(source, who)
        if not identifiers:
            raise UnprocessableError("an id is needed", "anonymous_id")
        secret = request.headers.get("einlass-device")
        found = await self._door.admit(
            partial(self._history.read, source, (identifiers[0], secret, trusted)), reserved=True
        )
        return JSONResponse(found)

    def _source(self, request: Request) -> SourcePolicy:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        key = given.strip() if scheme.lower() == "bearer" else request.query_params.get("key")
        source = self._access.source(key)
        name_source(request.scope, source.name)
        return source

    async def _body(self, request: Request, kind: type[_T]) -> _T:
        headers = request.headers
        raw = await read_body(request.receive, headers, self._settings.limits)
        body = inflate(raw, headers.get("content-encoding"), self._settings.limits)
        check_json_bounds(body)
        strict_twins(body)
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.ValidationError as error:
            raise UnprocessableError(
                "a field is missing or of another type", _where(error)
            ) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedPayloadError("the body is not JSON") from error

    def _identifiers(self, source: SourcePolicy, who: _Who) -> tuple[tuple[Identifier, ...], bool]:
        """Return the ids, main one first, and whether whoever speaks is trusted for them."""
        ids: dict[IdentifierType, Identifier] = {}
        for kind, value in (
            (IdentifierType.USER_ID, who.user_id),
            (IdentifierType.ANONYMOUS_ID, who.anonymous_id),
        ):
            if value is not None:
                try:
                    ids[kind] = identify(kind, value)
                except MalformedIdentifierError as error:
                    raise UnprocessableError("not a valid id", kind) from error
        user = ids.get(IdentifierType.USER_ID)
        proven = user is not None and self._access.proves(
            source.site, user.value, who.identity_proof
        )
        trusted = source.trust is Trust.SERVER or proven
        if not trusted and IdentifierType.ANONYMOUS_ID in ids:
            ids.pop(IdentifierType.USER_ID, None)  # a public key acts on its device only
        return tuple(ids.values()), trusted

    def _stated(self, request: Request, source: SourcePolicy, who: _Who, act: Act) -> Stated:
        identifiers, trusted = self._identifiers(source, who)
        if who.user_id is not None and not trusted and any(act.answers.values()):
            raise ForbiddenError(
                "a grant for a user id needs more than a public key", "identity_proof"
            )
        return Stated(
            source=source,
            identifiers=identifiers,
            act=act,
            trusted=trusted,
            secret=request.headers.get("einlass-device"),
            retry_id=_retry_id(who),
        )

    def _evidence(self, body: _Choice, *, granting: bool) -> dict[str, str | int | bool]:
        notice = self._settings.notices.get(body.notice)
        if notice is None:
            if granting or body.notice:
                raise UnprocessableError("no such notice", "notice")
        elif body.version != notice.version:
            raise UnprocessableError("not the notice in force: show it again", "version")
        elif body.language not in notice.languages:
            raise UnprocessableError("the notice has no such language", "language")
        if not 0 <= body.layer <= _MAX_LAYER:
            raise UnprocessableError("not the number of a layer", "layer")
        evidence: dict[str, str | int | bool] = {"layer": body.layer}
        if notice is not None:  # without one, version and language say nothing
            shown = {"notice": body.notice, "version": body.version, "language": body.language}
            evidence.update(shown)
        if body.method:
            evidence["method"] = _plain(body.method, _METHOD, "method")
        if body.ui_hash:
            evidence["ui_hash"] = _plain(body.ui_hash, _UI_HASH, "ui_hash")
        return evidence

    async def _answer(self, stated: Stated, status: HTTPStatus) -> Response:
        recorded = await self._door.admit(partial(self._choices.record, stated), reserved=True)
        body, pending = await self._receipts.settle(recorded)
        if pending:
            status = HTTPStatus.ACCEPTED
        response = JSONResponse(body, status_code=status)
        if not stated.identifiers:
            response.set_cookie(
                REFUSAL_COOKIE,
                "1",
                max_age=_COOKIE_SECONDS,
                secure=True,
                httponly=True,
                samesite="lax",
            )
        return response


class Receipts:
    """What the answer says: the receipt, and whether the choice is in force everywhere yet.

    ``drain`` waits until every send that checked consent before a position has ended; it returns
    False when it cannot tell.
    """

    def __init__(self, signer: Signer, drain: Drain) -> None:
        self._signer = signer
        self._drain = drain

    async def settle(self, recorded: Recorded) -> tuple[dict[str, object], bool]:
        """Return the body of the answer, and True where a withdrawal is still pending."""
        main = recorded.records[0]
        body: dict[str, object] = {
            "index": main.number,
            "effective_seq": recorded.position,
            "receipt": self._signer.receipt(main.stored, main.position),
        }
        if recorded.device_secret is not None:
            body["device_secret"] = recorded.device_secret
        if recorded.refuses and not await self._drain(recorded.position):
            return {**body, "effective": "pending"}, True
        return body, False


def _plain(word: str, form: re.Pattern[str], field: str) -> str:
    """Return what goes into the record as it is, once it can say nothing about a person."""
    if not form.fullmatch(word) or (len(word) != _WHOLE_UI_HASH and identifying(word)):
        raise UnprocessableError("not a short plain word", field)
    return word


def _where(error: msgspec.ValidationError) -> str:
    found = re.search(r"at `\$\.?([A-Za-z0-9_.]*)", str(error))  # no [...]: a key may be a value
    missing = re.search(r"required field `([a-z_]+)`", str(error))
    return missing.group(1) if missing else found.group(1) if found else ""


def _retry_id(who: _Who) -> str:
    given = who.retry_id if isinstance(who, _Choice) else ""
    if given and not _RETRY_ID.fullmatch(given):
        raise UnprocessableError("not a UUID", "retry_id")
    return given
