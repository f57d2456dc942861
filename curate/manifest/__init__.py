"""Manifests: one TOML file a data set, validated into frozen settings before anything is read."""
