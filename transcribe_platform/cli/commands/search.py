"""`transcribe search WORDS`: full-text search in transcripts."""

from typing import Any

import click

from transcribe_platform.cli import tables
from transcribe_platform.cli.exit_codes import Exit
from transcribe_platform.cli.job_options import split_pairs
from transcribe_platform.cli.session import Session, common, printable
from transcribe_platform.client.shapes import Hit, Snippet


@click.command("search")
@click.argument("words", nargs=-1, required=True)
@click.option("--batch", "batch_id", metavar="ID")
@click.option("--language", metavar="NAME")
@click.option("--since", type=tables.Time(), help="A time, or an age: 15m, 2h, 3d.")
@click.option("--min-confidence", metavar="0…1")
@click.option("--metadata", multiple=True, metavar="NAME=VALUE")
@click.option("--limit", default=20, show_default=True, help="0 for all.")
@common
def command(
    session: Session, *, words: tuple[str, ...], since: str | None, **named: Any
) -> int:
    """Search transcripts, best match first; exit code 1 if there is none.

    Supports words, "phrases", -exclusions, OR, and prefix*.
    """
    named["metadata"] = dict(split_pairs(named["metadata"], "--metadata"))
    count = 0
    for hit in session.client.transcripts.search(
        " ".join(words), created_after=since, **named
    ):
        count += 1
        if session.as_json:
            session.emit(hit)
        else:
            _show(hit)
    return Exit.OK if count else Exit.SOME_FAILED


def _show(hit: Hit) -> None:
    name = hit.get("custom_id") or hit["filename"] or f"({hit['mode']})"
    click.echo(f"{click.style(printable(name), bold=True)}  {hit['job_id']}")
    for snippet in hit["snippets"]:
        at = tables.format_duration(snippet["start_seconds"])
        click.echo(f"  {at:>8}  {_format_snippet(snippet)}")


def _format_snippet(snippet: Snippet) -> str:
    """Return the text of a snippet, with matches in bold at a terminal."""
    parts = [
        click.style(text, bold=True, fg="yellow") if part["is_match"] else text
        for part in snippet["parts"]
        for text in [printable(part["text"]).replace("\n", " ")]
    ]
    return "".join(parts)
