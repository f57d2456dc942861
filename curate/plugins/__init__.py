"""Rules, cleaners and adapters of one's own, in files beside a manifest or in installed packages.

    plugins = ["my_rules.py"]  # at the top of a manifest

A plug-in is known by the SHA-256 of its content, never by its name alone: two manifests in one process may each bring
a rule of the same name, and neither sees the other's. Where a run goes (Ray workers too) the content of its plug-in
files goes along, as part of the manifest when that is pickled. Nothing is ever run that a finished run's folder holds:
there only name and SHA-256 are written down, and `curate retry` must be given the file again.

Module by module: `packages` finds installed plug-ins; `content` reads a plug-in, carries it to other processes and runs
it; `owned` is what becomes of its functions; `registration` has the decorators; `registry` puts several together.
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
