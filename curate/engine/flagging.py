"""The flags of a run: values by the scorer's features, kept in `extra` and judged by the rules that read them."""

from __future__ import annotations

import pyarrow as pa

import filters
from curate.engine.score import Scoring
from curate.manifest.settings import FLAGS, Manifest
from curate.marking import judge
from curate.schema import set_column
from curate.scorer.flags import Embedded, embed_flags, flag_values, with_flags


class Flagging:
    """The `[flags]` of one run; their texts are embedded when the first row needs it."""

    def __init__(self, manifest: Manifest) -> None:
        self._flags, self._rules = manifest.flags, manifest.flag_rules()
        self._embedded: Embedded | None = None

    def flag_and_judge(self, table: pa.Table, scoring: Scoring) -> pa.Table:
        """A scored table (N rows of SAMPLE) with its flags in `extra`, and without what falls by them.

        Raises: see `Scoring.scorer`.
        """
        if not self._flags:
            return table
        if self._embedded is None:
            self._embedded = embed_flags(self._flags, scoring.scorer)
        values = flag_values(table["clip_features"].combine_chunks(), self._embedded)
        table = set_column(table, "extra", with_flags(table["extra"].combine_chunks(), values))
        columns = {f"{filters.PREFIX}{FLAGS}{name}": of for name, of in values.items()}
        judged = table
        for name, of in columns.items():
            judged = judged.append_column(name, of)
        return judge(judged, self._rules, "score").drop_columns(list(columns))
