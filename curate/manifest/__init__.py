"""Reads manifests: a TOML file for each data set, checked and turned into frozen settings before data is read."""
