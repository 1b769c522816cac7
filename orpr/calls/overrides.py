"""Overrides made, read, changed, approved and withdrawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

from orpr.calls.transport import PAGE, Calls, json_body, parsed
from service.override_schemas import (
    BulkRequest,
    BulkResponse,
    OverrideChange,
    OverrideRequest,
    OverrideVersion,
    Preview,
    StoredOverride,
)  # fmt: skip
from service.settlement_schemas import Settlement

PATH = "/v1/overrides"


class OverrideCalls(Calls):
    """Overrides."""

    def preview_override(self, override: OverrideRequest) -> Preview:
        """What an override would do; nothing is stored."""
        return self._read(Preview, "POST", f"{PATH}/preview", json=json_body(override))

    def create_override(self, override: OverrideRequest, *, key: str | None = None) -> StoredOverride:
        """Store an override."""
        return self._write(StoredOverride, "POST", PATH, key, json=json_body(override))

    def create_overrides(self, overrides: Sequence[OverrideRequest], *, key: str | None = None) -> list[StoredOverride]:
        """Store up to 5,000 overrides, all or none."""
        body = BulkRequest(overrides=list(overrides))
        return self._write(BulkResponse, "POST", f"{PATH}/bulk", key, json=json_body(body)).items

    def overrides(self, **matching: str | date) -> Iterator[StoredOverride]:
        """Overrides in the order of their numbers; `matching` by scope, promotion_id, state, selling_on."""
        return self._pages(StoredOverride, PATH, matching, PAGE)

    def override(self, override_id: int) -> StoredOverride:
        """One override, withdrawn ones too."""
        return self._read(StoredOverride, "GET", f"{PATH}/{override_id}")

    def override_history(self, override_id: int) -> list[OverrideVersion]:
        """Every version, oldest first."""
        path = f"{PATH}/{override_id}/history"
        return [parsed(OverrideVersion, f"GET {path}", one) for one in self._ask("GET", path)]

    def settlement(self, override_id: int) -> Settlement:
        """What an override earned or cost against the policy's own number."""
        return self._read(Settlement, "GET", f"{PATH}/{override_id}/settlement")

    def export_labels(self, **matching: str | date | bool) -> bytes:
        """Expert labels as a Parquet file; `matching` by order_from, order_to, author, promotion_id; `newest` leaves out the
        oldest where a file does not hold all, which is a problem otherwise."""
        given = {name: str(value) for name, value in matching.items()}
        return self._answer("GET", f"{PATH}/export", params=given).content

    def change_override(
        self, override_id: int, change: OverrideChange, *, version: int, key: str | None = None
    ) -> StoredOverride:
        """Change some fields of the version that was seen; a newer one is a problem, `version-changed`."""
        path, told = f"{PATH}/{override_id}", change.model_dump(mode="json", exclude_unset=True)
        return self._write(StoredOverride, "PATCH", path, key, headers=_seen(version), json=told)

    def approve_override(self, override_id: int, *, version: int, key: str | None = None) -> StoredOverride:
        """Put a pending override into effect."""
        path = f"{PATH}/{override_id}/approval"
        return self._write(StoredOverride, "POST", path, key, headers=_seen(version))

    def withdraw_override(self, override_id: int, *, version: int, key: str | None = None) -> StoredOverride:
        """Withdraw the version that was seen."""
        path = f"{PATH}/{override_id}"
        return self._write(StoredOverride, "DELETE", path, key, headers=_seen(version))


def _seen(version: int) -> dict[str, str]:
    return {"If-Match": f'"{version}"'}
