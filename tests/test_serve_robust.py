"""Clients that vanish, are slow or send nonsense, and a good one all the while; more of them: benchmarks/serve.py."""

import sys

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error

from tinylm.runtime.server.openapi import document


@pytest.fixture(scope="module")
def load(repository):
    sys.path.insert(0, str(repository / "benchmarks"))
    try:
        import load

        yield load
    finally:
        sys.path.remove(str(repository / "benchmarks"))


@pytest.fixture(scope="module")
def server(start_server):
    with start_server("--parallel", "4") as server:
        yield server


def test_bad_clients_leave_a_good_one_alone(server, load):
    port = httpx.URL(server.url).port
    seen = load.torment(port, vanishing=40, slow=10, malformed=300, message="Tell me about the garden.")
    assert len(seen.streams) > 3
    assert seen.failed == 0
    assert sum(seen.statuses.values()) == 300
    assert not [status for status in seen.statuses if status >= 500]
    metrics = httpx.get(f"{server.url}/metrics").text
    assert "tinylm_active 0.0" in metrics
    assert "tinylm_waiting 0.0" in metrics


schema = schemathesis.openapi.from_dict(document("0"))


@schema.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_the_document_allows_or_forbids_is_no_error_of_the_server(case, server):
    case.call_and_validate(base_url=server.url, checks=[not_a_server_error], timeout=60)


def test_the_document_is_served(server):
    assert httpx.get(f"{server.url}/openapi.json").json()["paths"] == document("0")["paths"]
