"""Images from the web: many at once, politely, never from a private address, each failure with its reason."""

from curate.fetch.fetcher import Fetcher
from curate.fetch.outage import NetworkDown
from curate.fetch.outcome import Fetched

__all__ = ["Fetched", "Fetcher", "NetworkDown"]
