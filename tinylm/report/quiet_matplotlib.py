"""matplotlib without messages and without files outside TinyLM's cache folder.

While it is imported, matplotlib creates a folder for its settings and one for its list of fonts in the user's home, and
warns where it cannot. `MPLCONFIGDIR` names another folder; it is set during the import alone, as the program that uses
TinyLM may start others that draw.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from tempfile import TemporaryDirectory

from tinylm.user_cache import cache_folder, is_writable


@contextmanager
def _own_folder() -> Iterator[None]:
    """Let matplotlib use TinyLM's cache folder, or a temporary one where that cannot be written.

    A folder that the user has chosen stays.
    """
    if "MPLCONFIGDIR" in os.environ:
        yield
        return
    with TemporaryDirectory() if not is_writable() else nullcontext(cache_folder() / "matplotlib") as folder:
        os.environ["MPLCONFIGDIR"] = str(folder)
        try:
            yield
        finally:
            del os.environ["MPLCONFIGDIR"]


logging.getLogger("matplotlib").setLevel(logging.ERROR)
with _own_folder():
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

__all__ = ["Figure", "FigureCanvasSVG", "FuncFormatter", "MaxNLocator", "matplotlib"]
