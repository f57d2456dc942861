"""What holds for every test: none fails for being slow, as machines differ (pytest's timeout ends what hangs)."""

from hypothesis import settings

settings.register_profile("curate", deadline=None)
settings.load_profile("curate")
