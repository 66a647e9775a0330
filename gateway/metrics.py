"""Prometheus metrics, read from the stores when asked: they are right across restarts and workers.

Labels are names of sources, destinations, outcomes and reasons; nothing about a person.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

__all__ = ["render"]

_Counters = Sequence[tuple[str, str, str, int]]


class _Stores(Collector):
    def __init__(self, counters: _Counters, balance: Mapping[str, Any]) -> None:
        self._counters = counters
        self._balance = balance

    def collect(self) -> Iterator[Metric]:
        events = CounterMetricFamily(
            "einlass_events", "Events that entered", labels=["source", "outcome", "reason"]
        )
        for source, outcome, reason, count in self._counters:
            events.add_metric([source, outcome, reason], count)
        yield events
        deliveries = GaugeMetricFamily(
            "einlass_deliveries", "Deliveries by outcome", labels=["destination", "outcome"]
        )
        residue = GaugeMetricFamily(
            "einlass_residue", "Deliveries nobody can account for", labels=["destination"]
        )
        for destination, outcomes in self._balance["destinations"].items():
            for outcome, count in outcomes.items():
                if outcome == "residue":
                    residue.add_metric([destination], count)
                else:
                    deliveries.add_metric([destination, outcome], count)
        yield deliveries
        yield residue
        yield GaugeMetricFamily(
            "einlass_balance_residue", "Events nobody can account for", self._balance["residue"]
        )
        yield GaugeMetricFamily(
            "einlass_log_position", "Newest position", self._balance["position"]
        )


def render(counters: Callable[[], _Counters], balance: Callable[[], Mapping[str, Any]]) -> bytes:
    """Return all metrics in the text format."""
    registry = CollectorRegistry()
    registry.register(_Stores(counters(), balance()))
    return generate_latest(registry)
