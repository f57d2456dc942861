"""What holds for every test: none fails for being slow, as machines differ (pytest's timeout ends what hangs).

Bytecode is written, whatever the environment says: of several hundred interpreters each would compile curate anew, half
a CPU second, and each process of tests the tests, eight.

A test process has one token for all the Ray that is started in it: Ray reads it once, and its tests share a process.
Ray's workers are as nice as everybody: by its default of 15 they starve beside other tests. That a node has died it
finds within three seconds, where it takes fifteen.

Threads of OpenMP that wait for each other sleep: by its default they spin, on cores that other tests need.

Modules run side by side, twice as many as there are cores, as much of their time is waiting; those that take
longest begin first, so that none is left alone at the end.
"""

import os
import secrets
import sys

import pytest
from hypothesis import settings

LONGEST_FIRST = (
    "test_resume", "test_html", "test_origins", "test_scorer_run", "test_scorer_actors", "test_training", "test_tour",
    "test_near_duplicate", "test_manifests", "test_html_ink", "test_loader_far", "test_scorer_resume",
    "test_html_network", "test_scorer_towers", "test_far", "test_export_jobs", "test_select", "test_run",
)  # fmt: skip

settings.register_profile("curate", deadline=None)
settings.load_profile("curate")

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
os.environ |= {
    "OMP_WAIT_POLICY": "PASSIVE",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_worker_niceness": "0",
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
}


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Processes of tests for `-n auto`."""
    return 2 * (os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the modules that take longest first."""
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))
