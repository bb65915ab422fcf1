"""The sample rates that sound can be asked for at."""

from __future__ import annotations

MIN_SR, MAX_SR = 2_000, 192_000
"""In Hz."""
