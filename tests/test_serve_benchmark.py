"""The server's benchmark, with little of everything: it measures what it says, and ends with one JSON line."""

import json
import subprocess
import sys


def test_it_ends_with_one_json_line(repository):
    command = [sys.executable, "benchmarks/serve.py", "--only", "load", "torment_survived"]
    little = ["--seconds", "2", "--vanishing", "20", "--slow", "4", "--malformed", "50"]
    done = subprocess.run([*command, *little], capture_output=True, text=True, cwd=repository, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])["figures"]
    assert {"failed", "slowest_over_median", "rss_growth_mb", "aggregate_ratio_16"} < set(figures)
    assert figures["failed"] == figures["well_behaved_failed"] == 0
    assert figures["malformed_5xx"] == figures["leaked_slots"] == 0
    assert figures["streams"] >= 16
    assert figures["cpu_us_a_token_16"] > figures["cpu_us_a_token_1"] / 4 > 0
