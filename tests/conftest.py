"""What holds for every test: none fails for being slow, as machines differ (pytest's timeout ends what hangs).

A test process has one token for all the Ray that is started in it: Ray reads it once, and its tests share a process.
Ray's workers are as nice as everybody: by its default of 15 they starve beside other tests.
"""

import os
import secrets

from hypothesis import settings

settings.register_profile("curate", deadline=None)
settings.load_profile("curate")

os.environ |= {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_worker_niceness": "0",
}
