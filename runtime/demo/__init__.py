"""The demo model in the box: a bundle."""
