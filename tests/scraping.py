"""What Prometheus would get, as tests read it."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]


class Scrape(dict[tuple[str, Labels], float]):
    """Samples by name and labels."""

    def of(self, name: str, **labels: str) -> float:
        """One sample; 0 where it is not there."""
        return self.get((name, frozenset(labels.items())), 0.0)

    def by(self, name: str, label: str) -> dict[str, float]:
        """The samples of a metric by one of their labels."""
        return {dict(labels)[label]: value for (found, labels), value in self.items() if found == name}


async def scrape(client: httpx.AsyncClient) -> Scrape:
    """All samples at `/metrics`."""
    text = (await client.get("/metrics")).raise_for_status().text
    families = text_string_to_metric_families(text)
    return Scrape({(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples})
