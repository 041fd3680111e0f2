"""Factor sets: TOML files of emission factors, those that come with the package and an office's own."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

from evalkit.accounting._factor_file import read_factors
from evalkit.accounting._factors import FactorSet
from evalkit.errors import ConfigError, SourceError, nearest


def factor_set(name_or_path: str | Path) -> FactorSet:
    """Read a factor set: one of the package by its name, or an office's own TOML file by its path (*.toml).

    The package has "literature" (coefficients of Chinese studies), "changji_2022" (the printed part of a local standard) and
    "ipcc_2006" (Tier 1 defaults). Raises ConfigError for an unknown name, and SourceError for a file that cannot be read or
    has unknown, missing or impossible entries.
    """
    shipped = files("evalkit").joinpath("accounting", "factor_sets")
    names = sorted(item.name.removesuffix(".toml") for item in shipped.iterdir() if item.name.endswith(".toml"))
    if str(name_or_path) in names:
        data = shipped.joinpath(f"{name_or_path}.toml").read_bytes()
        path = f"evalkit/accounting/factor_sets/{name_or_path}.toml"
        return read_factors(data, path, hashlib.sha256(data).hexdigest(), taken=())
    path = Path(name_or_path).as_posix()
    if not path.endswith(".toml"):
        raise ConfigError(
            f"there is no factor set '{name_or_path}'",
            where="factor_set",
            remedy=f"{nearest(str(name_or_path), names)}; or give the path of a file that ends in .toml",
        )
    try:
        data = Path(name_or_path).read_bytes()
    except OSError as error:
        remedy = f"check the path; the sets of the package are {', '.join(names)}"
        raise SourceError(f"the factor file cannot be read ({error.strerror})", where=path, remedy=remedy) from None
    return read_factors(data, path, hashlib.sha256(data).hexdigest(), taken=tuple(names))
