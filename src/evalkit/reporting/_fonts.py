"""Where the one Chinese font lies that figures and papers use."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from evalkit.errors import ConfigError

CHINESE = "NotoSansSC-Regular.ttf"


def font_folder() -> Path:
    """Find the folder with NotoSansSC-Regular.ttf without importing the package that carries it."""
    spec = find_spec("zhplot")
    for location in (spec.submodule_search_locations or ()) if spec is not None else ():
        folder = Path(location) / "fonts"
        if (folder / CHINESE).is_file():
            return folder
    raise ConfigError(
        "no font with Chinese characters is installed", where="fonts", remedy="install the package zhplot"
    )
