"""``lightmel study paper``: the numbers that the paper published, and what they bear out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import show

if TYPE_CHECKING:
    from ..studies import Published, Tested


def paper(
    as_latex: Annotated[bool, typer.Option("--latex", help="Write the tables as LaTeX.")] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Write the numbers as CSV, a line for each network and input.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON document: numbers, tests, statements, gaps.")
    ] = False,
) -> None:
    """Show what the paper published: its tables of accuracy, tests, statements, and what is missing.

    Tests are t-tests from means and deviations, and each statement stands beside what the numbers say of it.
    """
    if as_latex + as_csv + as_json > 1:
        raise typer.BadParameter("--latex, --csv and --json are one or another.")
    from .. import studies

    rows = studies.published()
    if as_csv:
        typer.echo(studies.published_table(rows).csv(), nl=False)
        return
    tests = studies.t_tests(rows)
    tables = [studies.paper_table(dataset) for dataset in studies.DATASETS]
    tables += [studies.table_of_tests(tests, change) for change in studies.CHANGES[:2]]
    if as_latex:
        typer.echo("\n\n".join(table.latex() for table in tables))
        return
    with show.busy("computing"):
        statements = studies.statements()
    if as_json:
        show.json_line(
            {
                "rows": [_row(row) for row in rows],
                "tests": [_test(own) for own in tests],
                "statements": [dataclasses.asdict(own) for own in statements],
                "unpublished": [
                    {
                        "dataset": gap.dataset,
                        "architecture": gap.architecture,
                        "missing": gap.missing,
                        "configs": [config.slug for config in gap.configs],
                    }
                    for gap in studies.unpublished()
                ],
            }
        )
        return
    for table in tables:
        typer.echo(f"{table.markdown()}\n")
    show.statements(statements)
    show.gaps(studies.unpublished())


def _row(row: Published) -> dict[str, Any]:
    return {"name": row.name, **dataclasses.asdict(row), "config": row.config.slug}


def _test(own: Tested) -> dict[str, Any]:
    return {
        "change": own.change.text,
        "dataset": own.after.dataset,
        "after": own.after.name,
        "before": own.before.name,
        "measure": own.measure,
        **dataclasses.asdict(own.found),
        "runs": [own.after.runs, own.before.runs],
    }
