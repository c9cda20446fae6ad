"""matplotlib, imported without a message and without a file outside TinyLM's cache folder.

Everything that draws imports it from here. While it is imported, matplotlib makes a folder for its settings and one for
its list of fonts, and warns where the user's home cannot be written.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from tempfile import TemporaryDirectory

from tinylm.user_cache import cache_folder, is_writable


@contextmanager
def _own_folder() -> Iterator[None]:
    """A folder of TinyLM's for matplotlib's files, unless the user has chosen one."""
    if "MPLCONFIGDIR" in os.environ:
        yield
        return
    with TemporaryDirectory() if not is_writable() else nullcontext(cache_folder() / "matplotlib") as folder:
        os.environ["MPLCONFIGDIR"] = str(folder)
        try:
            yield
        finally:
            # The program that imports TinyLM may start others that draw
            del os.environ["MPLCONFIGDIR"]


logging.getLogger("matplotlib").setLevel(logging.ERROR)
with _own_folder():
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

__all__ = ["Figure", "FigureCanvasSVG", "FuncFormatter", "MaxNLocator", "matplotlib"]
