"""A network compiled by torch, for as long as that works."""

from __future__ import annotations

import logging
from typing import Any

import torch

from curate.scorer.batch_size import is_full
from curate.storage.filesystems import one_line

log = logging.getLogger("curate")


class Compiled:
    """A network compiled once for all batch sizes; where that fails, at once or later, it goes on as it is.

    There may be no compiler on this machine, a layer that it cannot do, or a size that it has to compile for
    anew in mid-run. An error of the network itself comes again from the network as it is.
    """

    def __init__(self, network: torch.nn.Module) -> None:
        self._network = self._work = network
        try:
            self._work = torch.compile(network, dynamic=True)
        except Exception as error:  # not for this Python
            self._give_up(error)

    def __call__(self, samples: torch.Tensor) -> Any:
        """What the network makes of samples. Raises as it does."""
        try:
            return self._work(samples)
        except Exception as error:  # dynamo, inductor, triton and the compilers each fail in their own way
            if self._work is self._network or is_full(error):
                raise
            self._give_up(error)
        return self._network(samples)

    def _give_up(self, error: Exception) -> None:
        log.warning("torch.compile does not work here (%s): going on without", one_line(error))
        self._work = self._network
