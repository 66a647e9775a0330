"""A shop's people with contact data, as a server source sends them, and what platforms see of them.

Digests are computed here from the addresses, not with the product's own code.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from gateway.datadir import DataDir
from gateway.enginelink import ask
from tests.server import Server, run

__all__ = [
    "AUDIENCE", "CONSENT", "PLATFORMS", "READY_SECONDS", "Customer", "begin_sync", "customers",
    "enrol", "looks", "port_of", "status_of", "sync", "towards", "until", "withdraw",
]  # fmt: skip

AUDIENCE = "high_interest"
READY_SECONDS = 60.0
"""Tests share the machine: three processes start while others compute."""

PLATFORMS: Mapping[str, str] = {"meta": "5678", "google": "6667"}
"""Platform → audience id of the generated configuration."""

CONSENT = {"consent": {"categoryPreferences": dict.fromkeys(
    ("functional", "analytics", "marketing"), True
)}}  # fmt: skip
_PRODUCTS = 4
"""More than three products in a week: the segment `high_interest`."""


@dataclass(frozen=True, slots=True)
class Customer:
    """One person as the shop knows them."""

    number: int

    @property
    def user_id(self) -> str:
        return f"customer-{self.number}"

    @property
    def email(self) -> str:
        return f"Customer.{self.number}@Mail.example"

    @property
    def phone(self) -> str:
        return f"+49151555{self.number:05d}"

    def digests(self, platform: str) -> set[str]:
        """Return what a platform is shown of this person: digests of its own normal forms."""
        phone = self.phone.removeprefix("+") if platform == "meta" else self.phone
        return {_sha256(self.email.lower()), _sha256(phone)}


def port_of(url: str) -> int:
    """Return the port of a local address."""
    return int(url.rpartition(":")[2])


def towards(port: int) -> Callable[[str], str]:
    """Return what makes a configuration's destinations talk to a port of this machine."""
    return lambda text: text.replace("port = 8089", f"port = {port}")


def sync(server: Server) -> None:
    """Evaluate the audience now, have it brought up to date, and wait until it is."""
    run("audiences", "sync", AUDIENCE, "--data", str(server.data), "--json", timeout_seconds=150)


def begin_sync(server: Server) -> None:
    """Evaluate the audience now; the courier goes on by itself."""
    ask(DataDir(server.data).engine_socket, {"do": "sync", "audience": AUDIENCE})


def status_of(server: Server) -> dict[str, dict[str, Any]]:
    """Return how the audience stands, by destination."""
    found = server.admin("/v1/audiences")["audiences"]
    return {one["destination"]: one for one in found}


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for a condition; return whether it came."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def customers(count: int, first: int = 0) -> list[Customer]:
    """Return ``count`` different people."""
    return [Customer(number) for number in range(first, first + count)]


def looks(customer: Customer, mark: str, products: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield product views of a person; ``mark`` keeps message ids apart."""
    for product in products:
        yield {
            "type": "track",
            "event": "Product Viewed",
            "messageId": f"{mark}-{customer.number}-{product}",
            "userId": customer.user_id,
            "properties": {"product_id": product},
            "context": CONSENT,
        }


def enrol(server: Server, people: Iterable[Customer], mark: str = "first") -> None:
    """Bring people in with consent, contact data and enough views for the segment."""
    events: list[dict[str, Any]] = []
    for person in people:
        traits = {"email": person.email, "phone": person.phone}
        events.append(
            {
                "type": "identify",
                "messageId": f"{mark}-{person.number}",
                "userId": person.user_id,
                "traits": traits,
                "context": CONSENT,
            }
        )
        events += looks(person, mark, (f"p{n}" for n in range(_PRODUCTS)))
    answer = httpx.post(
        f"{server.url}/v1/batch", json={"batch": events}, auth=(server.server_key, ""), timeout=30
    )
    assert answer.status_code == httpx.codes.OK, answer.text


def withdraw(server: Server, person: Customer, purposes: object = "all") -> httpx.Response:
    """Withdraw for one person; the answer comes once it is in force."""
    return httpx.post(
        f"{server.url}/v1/consent/withdraw",
        json={"user_id": person.user_id, "purposes": purposes},
        headers={"Authorization": f"Bearer {server.server_key}"},
        timeout=30,
    )
