"""Clients of which the packages are at hand, by the scripts of `python -m benchmarks.clients`; that has the others."""

import subprocess
import sys

import pytest

SCRIPTS = ("with_openai.py", "with_ollama.py", "like_home_assistant.py", "like_sillytavern.py")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_client_is_understood(script, demo_server, repository):
    command = [sys.executable, repository / "benchmarks" / "clients" / script, demo_server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
