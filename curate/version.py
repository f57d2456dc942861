"""The version of curate, which every run writes into its shards."""

__version__ = "0.1.0"
