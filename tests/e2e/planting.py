"""Sends canaries on every path there is, and keeps every answer that came back."""

import base64
import gzip
import json
import re
import socket
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from tests.e2e.canary import Canary, Trace, digests_of
from tests.server import Server

__all__ = ["CANARIES", "CONTACT", "PERSON", "Planter"]

EMAIL = Canary.email("Kanarie.7f3k+Tag@Leak-Canary.example")
PHONE = Canary.phone("+49 (0)151 5550 1987", "+4915155501987", "015155501987")
IPV4 = Canary.address("203.0.113.207")
IPV6 = Canary.address("2001:db8:c0de::77:cafe")
COOKIE = Canary.word("cookie", "kc7f3k9q2w8e5r1t6y4u")
NAME = Canary.word("name", "Xaverina Quillbröök", "quillbrook", "xaverina_quillbrook")

CANARIES = (EMAIL, PHONE, IPV4, IPV6, COOKIE, NAME)
DETECTED = (EMAIL, PHONE, IPV4, IPV6)
"""What a detector can know. The others go where nothing is kept that was not declared."""
CONTACT = (EMAIL, PHONE)
PERSON = "u-granted"
"""User id of someone who grants everything and whose contact data are the canaries."""

YES = {"functional": True, "analytics": True, "marketing": True}
NO = dict.fromkeys(YES, False)
TYPES = ("track", "identify", "page", "screen", "group", "alias")

Json = dict[str, Any]


@dataclass
class Planter:
    """One run of planting against a server."""

    server: Server
    answers: list[Trace] = field(default_factory=list)
    outcomes: dict[str, int] = field(default_factory=dict)
    number: int = 0

    def plant(self) -> None:
        """Send everything."""
        with self.sending():
            for key in (self.server.server_key, self.server.write_key):
                self.people(key)
                self.ids(key)
                self.values(key)
                self.events_by_name(key)
                self.invalid(key)
                self.consents(key)
                self.headers(key)
            self.wrong_places()
        self.malformed_http()
        self.admin()

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Keep connections to the collector for the length of a block."""
        limits = httpx.Limits(max_keepalive_connections=4)
        with httpx.Client(base_url=self.server.url, timeout=30, limits=limits) as self.client:
            yield

    # -- sending --------------------------------------------------------------------------------

    def send(self, method: str, url: str, **more: Any) -> httpx.Response:  # noqa: ANN401 - httpx
        answer = self.client.request(method, url, **more)
        head = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
        place = f"answer {answer.status_code} to {method} no. {len(self.answers)}"
        self.answers.append(Trace(place, head.encode() + b"\n" + answer.content))
        outcome = answer.headers.get("einlass-outcome", str(answer.status_code))
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        return answer

    def one(self, key: str, event: Json, **more: Any) -> httpx.Response:  # noqa: ANN401 - httpx
        return self.send("POST", f"/v1/{event['type']}", json=event, auth=(key, ""), **more)

    def batch(self, key: str, events: Sequence[Json]) -> None:
        """Send a batch and its retry."""
        for _ in range(2):
            self.send("POST", "/v1/batch", json={"batch": events}, auth=(key, ""))

    def fresh(self) -> str:
        self.number += 1
        return f"m-{self.number}"

    # -- events ---------------------------------------------------------------------------------

    def people(self, key: str) -> None:
        """Every type of event by people who granted, refused, said nothing or nothing readable."""
        states: dict[str, object] = {
            "unknown": None,
            "malformed": {"categoryPreferences": "yes"},
            "refused": {"categoryPreferences": NO},
            "granted": {"categoryPreferences": YES},  # last: a refusal binds who owns the contact
        }
        for state, consent in states.items():
            who = {"userId": f"u-{state}", "anonymousId": f"a-{state}"}
            for canary in CANARIES:
                events = [self.event(kind, canary, who, consent) for kind in TYPES]
                self.batch(key, events)
                self.one(key, events[0])
            self.batch(key, [self.event("track", c, who, _odd_consent(c)) for c in CANARIES])
        for canary in CANARIES:
            places = [{"url": text, "referrer": text} for text in addresses(canary)]
            self.batch(
                key, [self.plain(key, {}) | {"type": "page", "properties": one} for one in places]
            )

    def event(self, kind: str, canary: Canary, who: Json, consent: object) -> Json:
        event = {
            "type": kind,
            "messageId": self.fresh(),
            **who,
            "event": "Product Viewed",
            "name": canary.value,
            "groupId": canary.value,
            "previousId": f"{canary.value} before",  # linked: what others say as it is binds them
            "properties": undeclared(canary) | detected(canary) | page(canary),
            "traits": undeclared(canary) | contact() | {"region": DETECTED[0].value},
            "context": context(canary, consent),
            "integrations": {"All": canary.value, canary.value: True},
            canary.value: canary.value,
        }
        if kind == "page" and canary in DETECTED:
            event["category"] = canary.value  # a category is declared: only there with a detector
        return event

    def ids(self, key: str) -> None:
        """Every id as a canary, written so that it does not look like an id."""
        for canary in CANARIES:
            for text in canary.spellings:
                events = [
                    self.plain(key, {"userId": text}),
                    self.plain(key, {"anonymousId": text}),
                    self.plain(key, {"userId": text, "anonymousId": f"{text} 2"}),
                    self.plain(key, {}) | {"messageId": not_id_like(text)},
                    self.plain(key, {}) | {"context": consent_of(YES) | {"sessionId": text}},
                ]
                for name in ("order_id", "product_id", "sku", "checkout_id", "list_id", "orderId"):
                    event = self.plain(key, {})
                    event["properties"][name] = not_id_like(text)
                    events.append(event)
                event = self.plain(key, {})
                event["properties"]["session_id"] = text
                event["properties"]["products"] = [
                    {"product_id": not_id_like(text), "sku": not_id_like(text), "name": text}
                ]
                self.batch(key, [*events, event])

    def values(self, key: str) -> None:
        """Declared properties that hold a canary the detectors know, in several spellings."""
        events = []
        for canary in DETECTED:
            texts = [*canary.spellings, quote(canary.value, safe=""), canary.value.upper()]
            texts += [f"call {text} now" for text in canary.spellings]
            events += [self.valued(key, text) for text in texts]
        for canary in CANARIES:
            for digest in digests_of(canary).values():
                event = self.plain(key, {})
                event["properties"] |= {"coupon": digest.hex(), "query": digest.hex().upper()}
                event["properties"]["order_id"] = digest.hex()
                events.append(event)
        self.batch(key, events)
        self.numbers(key)

    def valued(self, key: str, text: str) -> Json:
        """Return an event with a text in every field that is kept as it is."""
        event = self.plain(key, {})
        names = ("category", "brand", "variant", "coupon", "query", "affiliation", "size", "color")
        event["properties"] = {**dict.fromkeys(names, text), "products": [{"category": text}]}
        fields = ("name", "source", "medium", "term", "content")
        event["context"]["campaign"] = dict.fromkeys(fields, text)
        event["context"]["traits"] = {"region": text, "age_band": [text]}
        return event

    def numbers(self, key: str) -> None:
        """Send a phone number as a number."""
        phone = int(PHONE.spellings[2])
        for value in (phone, -phone, float(phone), phone * 100):
            event = self.plain(key, {})
            event["properties"] |= {
                "quantity": value,
                "size": value,
                "position": value,
                "step": value,
                "revenue": value,
                "price": value,
                "shipping_minor": value,
                "price_minor": value,
                "products": [{"product_id": "p", "quantity": value, "price": value}],
                "items": [{"product_id": "p", "price_minor": value}],
            }
            event["traits"] = {"region": value, "subscribed_email": value}
            self.batch(key, [event])

    def events_by_name(self, key: str) -> None:
        """Event names that hold a canary the detectors know; names of people are not known."""
        for canary in (*DETECTED, COOKIE):
            for text in (*canary.spellings, f"Called {canary.value}", quote(canary.value, safe="")):
                self.one(key, self.plain(key, {}) | {"event": text})

    def plain(self, key: str, who: Json) -> Json:
        """Return an event of someone who grants, with nothing planted yet."""
        server = key == self.server.server_key
        return {
            "type": "track",
            "event": "Product Viewed",
            "messageId": self.fresh(),
            **(who or ({"userId": PERSON} if server else {"anonymousId": "a-granted"})),
            "properties": {},
            "context": consent_of(YES),
        }

    # -- what cannot be read --------------------------------------------------------------------

    def invalid(self, key: str) -> None:
        """Bodies that are broken, of wrong types, or too large."""
        for canary in CANARIES:
            text = json.dumps(canary.value)
            for body in broken_bodies(canary):
                bearer = {"Authorization": f"Bearer {key}"}
                for path in ("/v1/track", "/v1/batch", "/v1/consent"):
                    self.send("POST", path, content=body, headers=bearer)
            for wrong in wrong_types(canary):
                self.one(key, self.plain(key, {}) | wrong)
                self.batch(key, [self.plain(key, {}) | wrong, self.plain(key, {})])
            good = json.dumps(self.plain(key, {}) | {"properties": undeclared(canary)}).encode()
            for coding, body in (
                ("gzip", gzip.compress(good)[:-9]),
                ("gzip", text.encode()),
                ("deflate", zlib.compress(good) + text.encode()),
                ("br", text.encode()),
            ):
                headers = {"Content-Encoding": coding}
                self.send("POST", "/v1/track", content=body, headers=headers, auth=(key, ""))

    # -- consent --------------------------------------------------------------------------------

    def consents(self, key: str) -> None:
        """Send the consent API canaries as ids, evidence, answers, purposes and secrets."""
        bearer = {"Authorization": f"Bearer {key}"}
        for canary in CANARIES:
            for text in canary.spellings:
                for answers in (YES, NO):
                    for body in choices(text, answers):
                        self.send("POST", "/v1/consent", json=body, headers=bearer)
                for who in ("anonymous_id", "user_id"):
                    for purposes in ("all", [text], text):
                        body = {who: text, "purposes": purposes}
                        self.send("POST", "/v1/consent/withdraw", json=body, headers=bearer)
                    device = {"Einlass-Device": quote(text)}
                    self.send(
                        "GET", "/v1/consent", params={who: text}, headers={**bearer, **device}
                    )

    # -- around the body ------------------------------------------------------------------------

    def headers(self, key: str) -> None:
        """Every header that a tracker or a proxy may send."""
        for canary in CANARIES:
            text = canary.value if canary.value.isascii() else quote(canary.value)
            headers = {
                "User-Agent": f"Mozilla/5.0 ({text})",
                "X-Forwarded-For": text,
                "Forwarded": f'for="{text}"',
                "X-Real-IP": text,
                "Via": f"1.1 {text}",
                "Cookie": f"ajs_user_id={quote(text)}; sid={text}",
                "Origin": f"https://{text}",
                "Referer": f"https://shop.example/?m={text}",
                "From": text,
                "X-Custom": text,
                "X-Request-Id": text,
                "Traceparent": f"00-{text}",
                text.encode().hex(): text,
            }
            event = self.plain(key, {})
            self.one(key, event, headers=headers, params={"u": text, "e": quote(text)})
            self.one(
                key, event | {"messageId": not_id_like(text)}, headers={**headers, "Sec-GPC": text}
            )
            for path in ("/v1/consent", "/v1/consent/withdraw", f"/v1/{quote(text)}"):
                self.send("POST", path, json={}, headers=headers, params={"key": key, "u": text})

    def wrong_places(self) -> None:
        """Wrong paths, methods, keys and hosts."""
        for canary in CANARIES:
            text, event = canary.value, {"type": "track", "event": "x", "userId": canary.value}
            coded = quote(text, safe="")
            for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"):
                self.send(method, f"/{coded}")
                self.send(method, f"/v1/track/{coded}?{coded}={coded}")
            self.send("POST", "/v1/track", json=event, auth=(text, ""))
            self.send("POST", "/v1/track", json=event | {"writeKey": text})
            self.send("POST", "/v1/track", json=event, headers={"Authorization": f"Bearer {coded}"})
            self.send("POST", "/v1/consent", json={}, params={"key": text})
            self.send("GET", f"/ledger/tile/{coded}")
            self.send("GET", "/health/ready", headers={"Host": f"{coded}.example"})
            self.send("GET", "/", headers={"X-Long": coded * 2_000})
            self.send("GET", f"/{coded * 400}")

    def malformed_http(self) -> None:
        """Requests that no client library would send."""
        for canary in CANARIES:
            raw = canary.value.encode()
            for request in (
                b"GET /%b HTTP/9.9\r\nHost: x\r\n\r\n" % raw,
                b"GET / HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n" % raw,
                b"%b\r\n\r\n" % raw,
                b"POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: %b\r\n\r\n" % raw,
                b"POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n%b" % raw,
            ):
                self.answers.append(Trace("answer to malformed HTTP", self._exchange(request)))

    def _exchange(self, request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=10) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65_536), b""))

    def admin(self) -> None:
        """Send the admin port canaries in paths and tokens."""
        bearer = {"Authorization": f"Bearer {self.server.admin_token}"}
        with httpx.Client(base_url=self.server.admin_url, timeout=30) as self.client:
            for canary in CANARIES:
                coded = quote(canary.value, safe="")
                self.send("GET", f"/v1/events/{coded}/why", headers=bearer)
                self.send("GET", f"/{coded}", headers=bearer)
                self.send("GET", "/v1/balance", headers={"Authorization": f"Bearer {coded}"})


def consent_of(answers: Mapping[str, bool]) -> Json:
    """Return a context that carries category answers."""
    return {"consent": {"categoryPreferences": dict(answers)}}


def not_id_like(text: str) -> str:
    """Return a text that no rule takes for an id; those that look like one are kept by design."""
    return f"{text}=" if re.fullmatch(r"[a-z][A-Za-z0-9_.-]*", text) else text


def undeclared(canary: Canary) -> Json:
    """Return properties that no policy declares: values, nested ones, and names."""
    snake = (*canary.spellings, *canary.fragments)[-1].lower()
    return {
        "note": canary.value,
        "first_name": canary.value,
        "nested": {"deep": [{"er": canary.value, canary.value: 1}]},
        "blob": base64.b64encode(canary.value.encode()).decode(),
        "hex": canary.value.encode().hex(),
        canary.value: 1,
        snake: canary.value,
        f"tel{PHONE.spellings[2]}": 1,
    }


def detected(canary: Canary) -> Json:
    """Return declared properties with a canary that the detectors know, else none."""
    if canary not in DETECTED:
        return {"product_id": "p1"}
    return {"category": canary.value, "coupon": canary.value, "product_id": canary.value}


def contact() -> Json:
    """Return contact traits; what is no declared trait beside them."""
    return {"email": EMAIL.value, "phone": PHONE.value, "name": NAME.value, "ip": IPV4.value}


def page(canary: Canary) -> Json:
    """Return the fields of a page call, raw and encoded, in each part of its address."""
    raw, coded = canary.value, quote(canary.value, safe="")
    return {
        "url": f"https://{coded}:{coded}@shop.example/{coded}/p;{raw}?e={raw}&x={coded}#{raw}",
        "referrer": f"https://{raw}:{raw}@mail.example/{coded}?q={coded}#{coded}",
        "title": f"Hello {raw}",
        "path": f"/account/{raw}",
        "search": f"?q={raw}",
    }


def addresses(canary: Canary) -> Iterator[str]:
    """Yield addresses whose parts are easily mistaken for one another."""
    raw, coded = canary.value, quote(canary.value, safe="")
    yield f"https://a@{raw}:pw@shop.example/"
    yield f"https://shop.example/products/{coded}"
    yield f"https://shop.example/search/{coded}"
    yield f"https://shop.example?{raw}"
    yield from (f"mailto:{raw}", f"//{raw}/", f"/{raw}", f"javascript:{coded}")
    if canary in DETECTED:  # the host of a page is kept, unless a detector knows better
        yield from (
            f"https://{raw}",
            f"https://{coded}/",
            f"https://[{raw}]/x",
            f"http://{raw}:8/?",
        )
        yield from (f"https://{raw}.shop.example/", f"https://www.{raw}/")


def context(canary: Canary, consent: object) -> Json:
    """Return a context with a canary in each field that SDKs fill."""
    raw = canary.value
    found: Json = {
        "ip": raw,
        "userAgent": f"Mozilla ({raw})",
        "locale": raw,
        "timezone": raw,
        "groupId": raw,
        "sessionId": raw,
        "device": {"id": raw, "advertisingId": raw},
        "library": {"name": raw},
        "referrer": {"id": raw},
        "traits": undeclared(canary),
        "page": page(canary),
        raw: raw,
    }
    if canary in DETECTED:
        fields = ("name", "source", "medium", "term", "content", raw)
        found["campaign"] = dict.fromkeys(fields, raw)
    if consent is not None:
        found["consent"] = consent
    return found


def _odd_consent(canary: Canary) -> Json:
    """Return categories named by a canary, beside the plain ones."""
    return {"categoryPreferences": {**YES, canary.value: True}}


def broken_bodies(canary: Canary) -> Iterator[bytes]:
    """Yield bodies that no reader of JSON, or of its shape, takes."""
    text = json.dumps(canary.value)
    yield f'{{"userId": {text}'.encode()
    yield f'{{"userId": {text}, "userId": {text}}}'.encode()
    yield f'{{"a": NaN, "b": {text}}}'.encode()
    yield f"[{text}]".encode()
    yield text.encode()
    yield canary.value.encode("utf-16")
    yield b"\xff" + canary.value.encode()
    yield f'{{"batch": {text}}}'.encode()
    yield f'{{"batch": [{text}, {{"type": {text}}}]}}'.encode()
    yield b"[" * 40 + text.encode() + b"]" * 40
    yield f'{{"properties": {{{text}: "{canary.value * 700}"}}}}'.encode()
    yield json.dumps({f"{canary.value}{n}": n for n in range(600)}).encode()
    yield f'{{"type": "track", "userId": {text}, "x": "'.encode() + b"a" * 1_100_000 + b'"}'


def wrong_types(canary: Canary) -> Iterable[Json]:
    """Return fields of another type than theirs."""
    raw = canary.value
    return (
        {"userId": {"id": raw}},
        {"event": [raw]},
        {"properties": raw},
        {"context": raw},
        {"context": {"page": raw}},
        {"context": {"consent": raw}},
        {"traits": [raw]},
        {"timestamp": raw},
        {"timestamp": {raw: raw}},
        {"messageId": raw * 20},
        {"messageId": [raw]},
        {"type": raw},
        {"event": raw * 30},
        {"writeKey": raw},
        {"userId": raw + "\u0000"},
        {"properties": {"x": raw * 500}},
    )


def choices(text: str, answers: Mapping[str, bool]) -> Iterator[Json]:
    """Yield consent choices with a canary in one field each."""
    notice = {"notice": "web", "version": "3", "language": "de"}
    choice: Json = {"anonymous_id": "d-evidence", "answers": dict(answers), **notice}
    yield choice | {"anonymous_id": text}
    yield choice | {"user_id": text}
    for name in ("notice", "version", "language", "method", "ui_hash", "retry_id"):
        yield choice | {name: text}
        yield {"answers": dict(answers), name: text}  # by nobody, with no notice
    yield {"answers": dict(answers), "version": text, "language": text, "method": text}
    digits = re.sub(r"\D", "", text)[:18]
    yield choice | {"layer": int(digits or 0)}
    yield choice | {"identity_proof": text, "signals": {"tcf": text, "gpp": text, "gpc": False}}
    yield choice | {"answers": {**answers, text: True}}
    yield choice | {"answers": {**answers, "analytics": text}, text: text}
