"""Passes over the archive's fields that the fits of all layouts share, and their keys."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import xarray as xr

from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.fingerprint import description_digest
from gfrnn.pipeline.data.rechunking.fields_copy import FieldsCopy, can_be_copied
from gfrnn.pipeline.data.stored_chunks import ChunkReads
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.reduction.checkpoints import Checkpoints, content_key
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.climatology import Climatology, ClimatologySummary
from gfrnn.pipeline.states.harmonics import AnnualCycle
from gfrnn.pipeline.training.input_folds import digest_of, training_digests
from gfrnn.pipeline.training.pass_costs import read_windows
from gfrnn.pipeline.training.passes import ReductionPass
from gfrnn.pipeline.training.state_series import joined_stretches
from gfrnn.pipeline.training.stretches import climatology_cycles, leaf_length, read_stretches

# A copy is made where passes would decode a stored byte more often than this on average, and so
# many bytes again (1 GiB) that copying takes less time.
_OFTEN, _AGAIN = 4, 2**30

# A copy of smaller chunks would be read more slowly than the store.
_LEAST_CHUNK = 2**16

# Chunks of the copy that a leaf reads, where leaves read times of their neighbours too.
_CHUNKS_PER_LEAF = 4


@dataclass(frozen=True)
class FieldPasses:
    """An experiment, its data, and the passes over its fields.

    Attributes
    ----------
    experiment : Experiment
    fields : Fields
        Data with their mask.
    checkpoints : Checkpoints
    """

    experiment: Experiment
    fields: Fields
    checkpoints: Checkpoints

    @cached_property
    def digests(self) -> dict[str, str]:
        """Digest of the data of each fold."""
        return training_digests(self.experiment, self.fields.ds)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the data of the training and the validation period."""
        return digest_of(self.fields.ds, self.digests, "train", "validation")

    @cached_property
    def terms(self) -> tuple[AnnualCycle, int]:
        """Annual cycle and number of harmonics of the day in the climatology."""
        return climatology_cycles(self.experiment, self.fields.time)

    @property
    def climatology_key(self) -> str:
        """Key of everything but the stretches that determines the climatology, data included."""
        data = digest_of(self.fields.ds, self.digests, "train")
        return content_key(data, *self.terms, *order_key(self.fields.ds))

    def climatology_pass(self) -> ReductionPass:
        """Return the first pass, which gives the climatology of the training period."""
        moments, reads = ClimatologySummary(self.fields, *self.terms), self.reads("train")
        return ReductionPass(
            summary=moments,
            stretches=reads,
            key=lambda: content_key(
                description_digest(self.fields.ds),
                *self.terms,
                *order_key(self.fields.ds),
            ),
            data=lambda: self.digests,
            windows=read_windows(reads),
            finish=moments.finish,
            placeholder=Climatology.zero(*self.terms, self.fields.grid),
            joined=True,
        )

    def reads(self, name: str) -> list[Stretch]:
        """Return the leaves of a pass that reads the fields of a period."""
        return read_stretches(
            self.fields.time,
            getattr(self.experiment.periods, name),
            name,
            columns=self.fields.grid.size,
            chunk=self.experiment.data.chunk,
            grain=self.fields.ds.attrs["time_chunk"],
            phase=self.fields.ds.attrs["time_chunk_start"],
        )

    @cached_property
    def training_folds(self) -> int:
        """Number of folds of the training period, one a year."""
        return len({part.fold for part in self.reads("train")})

    def rows_key(self, variant: Experiment, *parts: Any) -> str:
        """Return the key of everything but the stretches that determines a candidate's rows."""
        return content_key(
            self.fingerprint,
            variant.periods.model_dump(mode="json", exclude={"test"}),
            variant.climatology.model_dump(mode="json"),
            variant.state.model_dump(mode="json"),
            # Rows do not depend on the keys of rollouts.
            variant.model.model_dump(mode="json", exclude={"bound", "combine_leads"}),
            variant.fit.pool,
            variant.fit.share,
            # The test period has a part in them.
            *self.terms,
            *order_key(self.fields.ds),
            *parts,
        )


def order_key(ds: xr.Dataset) -> list[list[str]]:
    """Return the order of variables as a part of keys: the digests of data do not depend on it."""
    return [list(map(str, ds.data_vars))]


def fields_copy(
    experiment: Experiment, ds: xr.Dataset, checkpoints: Checkpoints
) -> FieldsCopy | None:
    """Return the copy of the fields that a fit makes first; None where it reads the store itself.

    Raises
    ------
    ConfigError
        If a copy is wanted but cannot be made.
    """
    wanted, fields = experiment.data.rechunk, Fields(ds)
    if wanted is False:
        return None
    if not can_be_copied(ds):
        if wanted:
            raise ConfigError(
                "data.rechunk: true, but values are interpolated or files have their cells in "
                "different orders; leave it out, or rechunk the files themselves"
            )
        return None
    passes = FieldPasses(experiment, fields, checkpoints)
    reads = passes.reads("train") + passes.reads("validation")
    counted = ChunkReads.count(fields.stored_chunks, read_windows(reads))
    again = counted.decoded_bytes - counted.distinct_bytes
    if not wanted and (counted.decoded_bytes < _OFTEN * counted.distinct_bytes or again < _AGAIN):
        return None
    length = leaf_length(fields.grid.size, experiment.data.chunk)
    if experiment.state.layout == "local":
        length = -(-length // _CHUNKS_PER_LEAF)
    copy = FieldsCopy(
        ds, checkpoints.path / "fields", read_windows(joined_stretches(reads)), length
    )
    return copy if wanted or copy.least_chunk_bytes >= _LEAST_CHUNK else None
