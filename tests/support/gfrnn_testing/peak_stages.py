"""Print the peak memory of each stage of a small fit, when run as a program.

Prints a line for each task: its name, the bytes that the plan says, and those that resident memory
rose by at the peak.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from gfrnn.pipeline import open_source
from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.config.section import checked
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.training.fit import training_of
from gfrnn.pipeline.training.pass_costs import PassCost
from gfrnn.pipeline.training.passes import cost_of_passes
from gfrnn.pipeline.training.patch_training import LocalTraining, draw_at_time, squares_at_time
from gfrnn.pipeline.training.rows import FieldStates, RowSummary
from gfrnn.pipeline.training.selection.candidates import Candidate, FoldTriangle
from gfrnn.pipeline.training.selection.precision import PrecisionSample
from gfrnn.pipeline.training.selection.ridge import select_ridge_and_width
from gfrnn.pipeline.training.state_series import save_series
from gfrnn.pipeline.training.training import Training
from gfrnn.pipeline.training.triangles import Factors
from gfrnn.pipeline.training.zonal.zonal_features import unfitted_network
from gfrnn.pipeline.training.zonal.zonal_solve import solve_networks_of_wavenumber
from gfrnn.pipeline.training.zonal.zonal_training import ZonalTraining
from gfrnn_core import RFactor
from gfrnn_testing.peak import rise
from gfrnn_testing.weather import make_weather, tree
from gfrnn_testing.zonal_weather import write_zonal_noise, zonal_tree


def experiment_of(layout: str, folder: Path) -> Experiment:
    """Return a fit on a store whose chunks hold more times than a leaf."""
    path = folder / "weather.zarr"
    if layout == "zonal":
        write_zonal_noise(path, 700, (24, 48), 350)
        whole = zonal_tree(
            path,
            data={"chunk": 120, "variables": {"geopotential": [500], "temperature": [500]}},
            periods={
                "train": ["2001-01-01", "2002-03-31"],
                "validation": ["2002-04-01", "2002-06-30"],
                "test": ["2002-07-01", "2002-08-31"],
            },
            model={"stages": 2, "noise": 0.1, "features": ["advection", "tanh"], "width": 4},
            fit={"rows": 240},
        )
        whole["state"] = {"layout": "zonal", "delays": 2}
        return checked(Experiment, whole, "test")
    make_weather(path, times=700, chunk=350, shape=(24, 48))
    kinds = {
        "eof": {"layout": "eof", "modes": 20, "delays": 2},
        "local": {"layout": "local", "patch": [6, 8], "halo": [2, 2], "delays": 2},
    }
    kinds["products"] = kinds["local"]
    sections = {
        "data": {"chunk": 120},
        "model": {"width": 300, "leads": ["1d"], "noise": 0.1, "sampling": "pairs"},
        "fit": {"rows": 240 if layout == "eof" else None, "widths": [300]},
    }
    if layout == "products":
        sections["model"] |= {"features": ["products"], "products": 2}
    whole = tree(path, **sections)
    whole["state"] = kinds[layout]
    return checked(Experiment, whole, "test")


def fit_of(layout: str, folder: Path) -> Training | ZonalTraining:
    experiment = experiment_of(layout, folder)
    training = training_of(
        experiment,
        Fields(open_source(experiment.data)),
        Checkpoints(folder / "summaries.zarr"),
    )
    if not isinstance(training, LocalTraining):
        size = 20
        if isinstance(training, ZonalTraining):
            size = unfitted_network(experiment, training.fields.grid).state_size
        states = np.random.default_rng(0).standard_normal((len(training.fields.time), size))
        save_series(training.series, states)
    return training


def reduced(stage: PassCost, training: Training | ZonalTraining) -> None:
    """Measure a leaf and a merge of the longest stretches."""
    summary, plan = stage.subject, stage.plan
    lengths = stage.windows[:, 1] - stage.windows[:, 0]
    overlap = summary.overlap if hasattr(summary, "overlap") else 0
    length = int(lengths.max()) - overlap if len(lengths) else 240
    parts = [Stretch("a", 2, 2 + length), Stretch("a", 2 + length, 2 + 2 * length)]
    sides = [summary.leaf(part) for part in parts]
    summary.merge(*sides)  # once before, for the buffers that a BLAS gets and keeps
    print(stage.name, "leaf", plan.leaf_bytes, rise(lambda: summary.leaf(parts[0])))
    held = sum(values.nbytes for side in sides for values in side.values())
    merged = rise(lambda: summary.merge(*sides))
    print(stage.name, "merge", summary.merge_bytes(), held + merged)


def rolled(stage: PassCost) -> None:
    """Measure the rollouts of the first leaf, and a merge."""
    summary, plan = stage.subject, stage.plan
    part = Stretch("a", 0, -(-len(summary.starts) // plan.leaves))
    sides = [summary.leaf(part), summary.leaf(part)]  # once before, for the buffers of a BLAS
    print(stage.name, "leaf", plan.leaf_bytes, rise(lambda: summary.leaf(part)))
    held = sum(values.nbytes for side in sides for values in side.values())
    merged = rise(lambda: summary.merge(*sides))
    print(stage.name, "merge", summary.merge_bytes(), held + merged)


def solved(stage: PassCost, rows: PassCost, training: Training) -> None:
    """Measure the choice of ridge and width of one candidate from two triangles."""
    part = rows.subject.parts[0] if hasattr(rows.subject, "parts") else rows.subject
    size = size_of(part, training)
    rng = np.random.default_rng(0)

    def factors() -> Factors:
        square = np.triu(rng.standard_normal((part.columns, part.columns)))
        return Factors((RFactor(square, 10**6),) * part.groups)

    def solve() -> None:
        fit, leads = training.experiment.fit, len(part.network.leads)
        select_ridge_and_width(
            part.network,
            [factors()],
            factors(),
            size=size,
            widths=[part.network.lattice_columns + width for width in fit.widths],
            ridges=fit.ridge,
            balances=fit.balance,
            variance=np.ones(leads),
            truncated_variance=np.zeros(leads),
        )

    solve()
    print(stage.name, "leaf", stage.plan.leaf_bytes, rise(solve))


def solved_wavenumber(stage: PassCost, rows: PassCost) -> None:
    """Measure the solve of the wavenumber with the most columns, from triangles of three years."""
    columns, width = int(rows.subject.columns[0]), rows.subject.network.basis.width
    rng = np.random.default_rng(0)

    def solve() -> None:
        parts = rng.standard_normal((3, 2, columns, columns))
        folds = [RFactor(np.triu(real + 1j * imaginary), 10**6) for real, imaginary in parts]
        del parts
        solve_networks_of_wavenumber(
            folds[:2], folds[2:], [np.ones(columns - width)], width, [1e-6, 1e-3]
        )

    solve()
    print(stage.name, "leaf", stage.plan.leaf_bytes, rise(solve))


def pooled(stage: PassCost, rows: PassCost, training: LocalTraining) -> None:
    """Measure the patches of one time."""
    part = rows.subject.parts[0]
    assert isinstance(part.states, FieldStates)

    def pool() -> None:
        draw_at_time(part.states, part.network, part.forcing, 200, 40, 0)

    pool()
    print(stage.name, "leaf", stage.plan.leaf_bytes, rise(pool))


def scaled(stage: PassCost, rows: PassCost) -> None:
    """Measure the scales of the base fields of one time."""
    part = rows.subject.parts[0]
    assert isinstance(part.states, FieldStates)
    assert part.network.lattice_features is not None

    def scale() -> None:
        squares_at_time(part.states, part.network.lattice_features, 200)

    scale()
    print(stage.name, "leaf", stage.plan.leaf_bytes, rise(scale))


def measured(stage: PassCost, rows: PassCost, training: Training) -> None:
    """Measure one leaf in both precisions, and the solve of its model."""
    part = rows.subject.parts[0] if hasattr(rows.subject, "parts") else rows.subject
    leaf = Stretch("a", 2, 2 + 110)
    square = np.triu(np.random.default_rng(0).standard_normal((part.columns, part.columns)))
    fold = Factors((RFactor(square, 10**6),) * part.groups)
    key = "validation"
    training.checkpoints.save("rows", key, fold.arrays())
    leads = len(part.network.leads)
    candidate = Candidate(
        values={},
        network=part.network,
        size=size_of(part, training),
        summary="rows",
        folds={"validation/1": FoldTriangle(key, 10**6)},
        variance=np.ones(leads),
        truncated_variance=np.zeros(leads),
    )
    ones = np.ones(leads)
    sample = PrecisionSample(part, leaf, candidate, part.network.width, 1e-3 * ones, ones)
    sample.measure(training.checkpoints)
    rose = rise(lambda: sample.measure(training.checkpoints))
    print(stage.name, "leaf", stage.plan.leaf_bytes, rose)


def size_of(part: RowSummary, training: Training) -> int:
    """Return the number of values that a row predicts at each lead."""
    patches = part.network.patches
    return training.experiment.state.modes if patches is None else patches.owned


def main(layout: str, folder: Path) -> None:
    training = fit_of(layout, folder)
    # Of passes that share a name, the last has the most columns.
    stages = {stage.name: stage for stage in cost_of_passes(training.passes())}
    for name, stage in stages.items():
        if name == "rollouts":
            rolled(stage)
        elif isinstance(training, ZonalTraining):
            if name == "solve":
                solved_wavenumber(stage, stages["rows"])
            else:
                reduced(stage, training)
        elif name == "solve":
            solved(stage, stages["rows"], training)
        elif name == "precision":
            measured(stage, stages["rows"], training)
        elif isinstance(training, LocalTraining) and name == "pool":
            pooled(stage, stages["rows"], training)
        elif name == "scales":
            scaled(stage, stages["rows"])
        else:
            reduced(stage, training)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
