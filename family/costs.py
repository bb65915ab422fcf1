"""Write what every tagger that has a name costs, so that `lightmel models` need not build networks to say it.

    python family/costs.py

writes ``src/lightmel/hub/costs.csv``: name, parameters, multiply-accumulates a minute of sound.
"""

from __future__ import annotations

import csv
import io

from lightmel import hub
from train import HERE

TABLE = HERE.parent / "src" / "lightmel" / "hub" / "costs.csv"


def costs_table() -> str:
    """Return the table as text."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("name", "parameters", "macs_per_minute"))
    for release in hub.releases():
        (row,) = hub.costs_of(release.name)
        writer.writerow((release.name, row.cost.parameters, round(60 * row.macs_per_second)))
    return out.getvalue()


if __name__ == "__main__":
    TABLE.write_text(costs_table(), encoding="utf-8", newline="\n")
