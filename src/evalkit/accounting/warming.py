"""Global warming potentials over 100 years, by assessment report of the IPCC."""

from __future__ import annotations

from collections.abc import Mapping

from evalkit.errors import ConfigError, nearest

_REPORTS: Mapping[str, str] = {"SAR": "Second", "AR4": "Fourth", "AR5": "Fifth", "AR6": "Sixth"}
# The package has one figure for the methane of AR6, 27.9, between the two that the report prints (working group I, table
# 7.15): 27.0 where its carbon comes from the air, as that of rice, cattle, manure and straw does, and 29.8 where it is
# fossil.
_AR6_METHANE = 27.0


def warming_potentials(name: str) -> tuple[Mapping[str, float], str]:
    """Return kg CO2e per kg of CH4 and N2O by the report `name` (SAR, AR4, AR5, AR6), and the words that cite it.

    They are those of the package globalwarmingpotentials (AR5 without climate-carbon feedback); for AR6, methane is the
    report's own for methane that is not fossil. Raises ConfigError for another name.
    """
    from globalwarmingpotentials import data  # type: ignore[import-untyped]  # its text is parsed when it is loaded

    if name not in _REPORTS:
        raise ConfigError(
            f"there are no warming potentials '{name}'",
            where="gwp",
            remedy=nearest(name, _REPORTS) + "; or give figures of your own in [gwp100], with their source",
        )
    table = data[f"{name}GWP100"]
    methane = _AR6_METHANE if name == "AR6" else float(table["CH4"])
    said = {"AR5": ", without climate-carbon feedback", "AR6": ", methane that is not fossil"}.get(name, "")
    return {"CH4": methane, "N2O": float(table["N2O"])}, f"IPCC, {_REPORTS[name]} Assessment Report{said}"
