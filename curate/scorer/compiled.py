"""A network compiled by torch, which falls back to the plain network where compiling fails."""

from __future__ import annotations

import logging
from typing import Any

import torch

from curate.scorer.batch_size import is_full
from curate.storage.filesystems import one_line

log = logging.getLogger("curate")


class Compiled:
    """A network compiled once for all batch sizes; after any compile failure it runs uncompiled.

    Compiling can fail at the start or in mid-run: no compiler on this machine, a layer it does not support, a batch
    size that needs a new compilation. An error of the network itself is raised again by the uncompiled network.
    """

    def __init__(self, network: torch.nn.Module) -> None:
        self._network = self._work = network
        try:
            self._work = torch.compile(network, dynamic=True)
        except Exception as error:  # torch.compile refuses some Python versions
            self._give_up(error)

    def __call__(self, samples: torch.Tensor) -> Any:
        """Apply the network to samples. Raises what the network raises."""
        try:
            return self._work(samples)
        except Exception as error:  # dynamo, inductor, triton and the compilers raise errors of many classes
            if self._work is self._network or is_full(error):
                raise
            self._give_up(error)
        return self._network(samples)

    def _give_up(self, error: Exception) -> None:
        log.warning("torch.compile does not work here (%s): going on without", one_line(error))
        self._work = self._network
