"""Figures as text."""

from __future__ import annotations

from lightmel.evaluation import markdown
from lightmel.evaluation.tables import figure, with_interval


def test_a_table_is_aligned_and_its_cells_stay_in_their_columns() -> None:
    table = markdown(("tag", "clips"), [("a|b", "20"), ("two\nlines", "3")])
    assert table.splitlines() == [
        "| tag       | clips |",
        "|-----------|-------|",
        "| a\\|b      | 20    |",
        "| two lines | 3     |",
    ]
    assert markdown(("alone",), []).splitlines() == ["| alone |", "|-------|"]


def test_figures_have_three_digits_and_none_is_nothing() -> None:
    assert (figure(0.12345), figure(1.0), figure(None)) == ("0.123", "1.000", "")
    assert with_interval(0.8, (0.70049, 0.9)) == "0.800 (0.700 to 0.900)"
    assert with_interval(float("nan"), None) == ""
