"""The demo model that is part of the package: a bundle."""

from pathlib import Path

DEMO_BUNDLE = Path(__file__).parent
"""Folder of the demo model, a small assistant for a made-up world around a Raspberry Pi."""
