"""Powering: the smallest effect that a study's design can find, in words and figures, before its outcomes are read."""

from __future__ import annotations

import math

from evalkit.catalogue import checked_language, say
from evalkit.checks import Power
from evalkit.config import StudyConfig
from evalkit.errors import ConfigError, nearest
from evalkit.estimation import Specification
from evalkit.study import build_panel, load_tables

_WIDTH = 40  # of a bar that stands for 100 %


def power_study(config: StudyConfig, power: Power, *, estimate: str | None = None, language: str = "en") -> str:
    """Say what one of a study's estimates (the first, unless named) can find, and its power by effect."""
    checked_language(language)
    name = next(iter(config.estimates)) if estimate is None else estimate
    if name not in config.estimates:
        raise ConfigError(f"there is no estimate '{name}'", where="--estimate", remedy=nearest(name, config.estimates))
    planned = config.estimates[name]
    panel = build_panel(config, load_tables(config))
    finding = power.run(Specification(panel, planned.design, planned.estimator, planned.inference))
    lines = [f"[{name}] {finding.sentence.text(language, config.labels)}"]
    if math.isnan(finding.statistic):
        return lines[0]
    lines += ["", say("power.curve", language)]
    for row in finding.table.to_dict("records"):
        bar = "#" * round(_WIDTH * row["power"])
        lines.append(f"{row['effect']:<10.4g}  {100 * row['power']:>4.0f} %  {bar}".rstrip())
    return "\n".join(lines)
