"""Plug-ins: users' own rules, cleaners and adapters, in files beside a manifest or in installed packages.

    plugins = ["my_rules.py"]  # at the top of a manifest

A plug-in is identified by the SHA-256 of its content, not by its name alone. So two manifests in one process may each
bring a rule of the same name, without seeing the other's. When a manifest is pickled for another process (such as a Ray
worker), the content of its plug-in files is pickled with it. A finished run's folder holds only a plug-in's name and
SHA-256, so that no code from such a folder is ever run: `curate retry` must be given the file again.

The modules: `packages` finds installed plug-ins; `content` reads a plug-in, sends it to other processes and runs it;
`owned` wraps its functions; `registration` has the decorators; `registry` combines several plug-ins.
"""

from curate.plugins.content import Plugin, read
from curate.plugins.owned import PLUGIN, OwnAdapter, without_owner
from curate.plugins.registration import TAKEN, adapter, cleaner, rule
from curate.plugins.registry import offering, registered, require

__all__ = [
    "PLUGIN",
    "TAKEN",
    "OwnAdapter",
    "Plugin",
    "adapter",
    "cleaner",
    "offering",
    "read",
    "registered",
    "require",
    "rule",
    "without_owner",
]
