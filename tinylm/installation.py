"""How this TinyLM was installed, and how to install it again with an extra."""

from __future__ import annotations

import json
import shlex
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname


def install_command(extra: str) -> str:
    """The pip command that installs TinyLM with an extra, from the folder or wheel that it was installed from.

    It never names TinyLM alone: pip would look the name up in a package index, where it may be another project's.

    Args:
        extra: an optional dependency group of pyproject.toml, as train.
    """
    requirement = _requirement(extra)
    if requirement is None:
        return f"pip install 'PATH[{extra}]', where PATH is TinyLM's wheel or a copy of its repository"
    return f"pip install {shlex.quote(requirement)}"


def _requirement(extra: str) -> str | None:
    """What pip takes for this very TinyLM with an extra; None where its folder or wheel is unknown or gone."""
    recorded = _direct_url()
    url = urlsplit(str(recorded.get("url", "")))
    vcs = recorded.get("vcs_info")
    if vcs:
        return f"tinylm[{extra}] @ {vcs['vcs']}+{url.geturl()}@{vcs['commit_id']}"
    if url.scheme in {"http", "https"}:
        return f"tinylm[{extra}] @ {url.geturl()}"
    # Not installed at all, it may be the source tree
    path = Path(url2pathname(url.path)) if url.scheme == "file" else Path(__file__).resolve().parent.parent
    is_there = path.suffix == ".whl" if path.is_file() else (path / "pyproject.toml").is_file()
    return f"{path}[{extra}]" if is_there else None


def _direct_url() -> dict[str, Any]:
    """The record that pip keeps of where a package came from (PEP 610); empty where there is none."""
    try:
        recorded = json.loads(metadata.distribution("tinylm").read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, OSError, ValueError):
        return {}
    return recorded if isinstance(recorded, dict) else {}
