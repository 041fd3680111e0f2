"""The command line: run, explain, power and list."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer

from evalkit.errors import EvalkitError, explain_refusal

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
StudyPath = Annotated[Path, typer.Argument(help="the study's folder, or its study.toml", show_default=False)]
_Language = Annotated[str, typer.Option(help="en or zh")]


def main() -> None:
    """Run the command line. Exit codes: 0 done, 2 something to put right, 130 stopped; both are said in one message."""
    # One thread: sums are then added up in the same order on every machine with the same processor.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")  # a Windows console would stop at Chinese
    try:
        app()
    except SystemExit as ended:
        if ended.code == 130:  # Ctrl-C
            typer.echo(_say_stopped(sys.argv[1:]), err=True)
        raise


def _say_stopped(arguments: list[str]) -> str:
    """Say that a command was stopped, in the language that it was asked for in, so far as that was read."""
    from evalkit.catalogue import LANGUAGES, say

    given = " ".join(arguments).replace("--language=", "--language ").split()
    asked = [then for name, then in pairwise(given) if name == "--language" and then in LANGUAGES]
    return say("stopped.run" if "run" in arguments[:1] else "stopped.other", asked[-1] if asked else "en")


@app.callback()
def _about() -> None:
    """Evaluate a policy: from the published table to a defended claim."""


@app.command("run")
def _run(study: StudyPath, language: _Language = "en") -> None:
    """Run a study: tables, figures and papers, rebuilt from the raw files."""
    with _remedies():
        from evalkit.catalogue import checked_language, say
        from evalkit.study.running import run_study

        checked_language(language)
        evidence = run_study(study, say=lambda text: typer.echo(f"… {text}", err=True))
        for name, one in evidence.estimates.items():
            typer.echo(f"\n[{name}]\n{one.summary(language, evidence.labels)}")
        typer.echo("")
        for name, finding in evidence.findings:
            typer.echo(f"[{name}] {finding.summary(language, evidence.labels)}")
        for judged in evidence.claims:
            typer.echo(f"{judged.summary(language, evidence.labels)}")
        if evidence.recalled:
            typer.echo("\n" + say("run.recalled", language, factors="; ".join(evidence.recalled)))
        typer.echo(f"\ndata/processed/{evidence.study}/  figures/{evidence.study}/")


@app.command("explain")
def _explain(study: StudyPath, language: _Language = "en") -> None:
    """Say what a study compares, on which rows, and what its design can show, before any outcome is regressed."""
    with _remedies():
        from evalkit.study.config import read_study
        from evalkit.study.explaining import explain_study

        typer.echo(explain_study(read_study(study), language))


@app.command("power")
def _power(
    study: StudyPath,
    noise_sd: Annotated[float, typer.Option(help="standard deviation of what is new in each unit and period")],
    place_sd: Annotated[float, typer.Option(help="that of the shock common to a unit of assignment in a period")],
    estimate: Annotated[str | None, typer.Option(help="name of the estimate; the first, if left out")] = None,
    target: Annotated[float, typer.Option(help="probability with which the effect is to be found")] = 0.8,
    draws: Annotated[int | None, typer.Option(help="outcomes to draw where there is no closed form")] = None,
    seed: Annotated[int | None, typer.Option(help="seed of the draws, a whole number")] = None,
    language: _Language = "en",
) -> None:
    """Say how large an effect must be for the design to find it, without reading any outcome."""
    with _remedies():
        from evalkit.checks import Power
        from evalkit.study.config import read_study
        from evalkit.study.explaining import power_study

        asked = Power(noise_sd=noise_sd, place_sd=place_sd, target=target, draws=draws, seed=seed)
        typer.echo(power_study(read_study(study), asked, estimate=estimate, language=language))


@app.command("list")
def _list() -> None:
    """List the kinds of sources, estimators, inferences, checks and claims that a study can name, with their settings."""
    with _remedies():
        from evalkit.study.explaining import list_families

        typer.echo(list_families())


@contextmanager
def _remedies() -> Iterator[None]:
    """End with a sentence and exit code 2, never with a traceback."""
    try:
        yield
    except EvalkitError as error:
        sentence = str(error)
    except BrokenPipeError:  # a reader that went away (`| head`): typer ends without a word
        raise
    except OSError as error:
        sentence = str(explain_refusal(error))
    else:
        return
    typer.echo(f"evalkit: {sentence}", err=True)
    raise typer.Exit(2)
