"""The demo model in the box: a bundle."""

from pathlib import Path

DEMO_BUNDLE = Path(__file__).parent
"""The model in the box: a small assistant that lives on a Raspberry Pi."""
