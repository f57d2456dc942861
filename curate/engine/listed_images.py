"""Drop images that are on a user's lists of hashes: by their bytes before decoding, by their fingerprint after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.engine.acquire import RawImage
from curate.images.hash_lists import HashLists
from curate.manifest.pinning import LIST_RULE
from curate.manifest.settings import Manifest
from curate.marking import alive, drop, scatter
from filters.copies import KIND, stored
from filters.hash_list import MAX_DISTANCE

STAGE = "listed"


def whole_prints(table: pa.Table) -> tuple[pa.Array, npt.NDArray[np.uint8]]:
    """Return the numbers of the alive rows with a fingerprint (N), and the fingerprint of each whole image (N x 32).

    `table` has the columns of SAMPLE.
    """
    places = pc.indices_nonzero(pc.and_(alive(table), pc.is_valid(table["fingerprint"])))
    return places, stored(table["fingerprint"].take(places).combine_chunks().cast(KIND))[:, 0]


class ListedImages:
    """The rule `image_on_list` of one run, with the lists in memory."""

    def __init__(self, manifest: Manifest) -> None:
        rules = manifest.active_rules()
        self._lists = HashLists.of_rules(rules)
        self._max_distance = int(rules.get(LIST_RULE, {}).get("max_distance", MAX_DISTANCE))

    @property
    def is_on(self) -> bool:
        """Whether the manifest has the rule."""
        return bool(self._lists.lists)

    @property
    def by_fingerprint(self) -> bool:
        """Whether the rule needs the images' fingerprints."""
        return self._lists.has_pdq

    def held(self, images: Iterable[tuple[int, RawImage]]) -> Iterator[tuple[int, RawImage]]:
        """Yield each row's image; if a list has the hash of its bytes, yield a failure in its place."""
        for row, image in images:
            said = None if image.data is None else self._lists.of_bytes(image.data)
            yield row, image if said is None else RawImage(None, STAGE, LIST_RULE, said)

    def drop(self, table: pa.Table) -> pa.Table:
        """Drop rows whose PDQ hash is near one on a list, in a table of decoded images (N rows of SAMPLE)."""
        if not self._lists.has_pdq:
            return table
        places, prints = whole_prints(table)
        said = pa.array(self._lists.of_prints(prints, self._max_distance), pa.string())
        detail = scatter(said, places, table.num_rows)
        return drop(table, pc.if_else(pc.is_valid(detail), LIST_RULE, None), STAGE, detail)
