"""Comparisons on ERA-Interim, on sea surface temperature of the Pacific and on a nature run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from gfrnn.workflows.benchmarks.benchmark_tables import BarCheck
from gfrnn.workflows.benchmarks.peers.comparison import Comparison, Contender, ErrorColumn
from gfrnn.workflows.benchmarks.peers.results import PeerResult

_HERE = "gfrnn.workflows.benchmarks.peers.fields"

SHIPPED, LSTM, GRU = "gfrnn, experiment as shipped", "LSTM", "GRU"


def network_name(width: int) -> str:
    """Return the name of the contender that is an experiment with one network."""
    return f"gfrnn, one network, width {width:,}"


def core_name(width: int) -> str:
    """Return the name of the contender that is one network on states in memory."""
    return f"gfrnn_core, one network, width {width:,}"


def field_contenders(
    experiment: str,
    widths: tuple[int, ...],
    window: int,
    warmup: int,
    modes: list[int],
    delays: list[int],
    single: str | None = None,
) -> Iterator[Contender]:
    """Yield the contenders on the states of an experiment.

    Parameters
    ----------
    experiment : str
    widths : tuple of int
        Numbers of hidden features of single networks of this program; the least also that of a
        network on states in memory.
    window : int
        Number of times that gated networks see.
    warmup : int
        Number of first times that readouts of echo state networks are not trained on.
    modes : list of int
        Numbers of modes that echo state networks are searched over.
    delays : list of int
        Numbers of successive states that the network on states in memory is searched over.
    single : str, optional
        Experiment of single networks, if it is another one.
    """
    own = f"{_HERE}.own_runs:OwnRun"
    yield Contender(SHIPPED, "ours", own, searches=False, options={"experiment": experiment})
    for width in widths:
        options = {"experiment": single or experiment, "width": width}
        yield Contender(network_name(width), "ours", own, seeds=3, mean=True, options=options)
    yield Contender(
        core_name(min(widths)),
        "ours",
        f"{_HERE}.sampled_program:SampledProgram",
        seeds=3,
        mean=True,
        options={"width": min(widths), "delays": delays},
    )
    for cell in (LSTM, GRU):
        yield Contender(
            cell,
            "peer",
            f"{_HERE}.gated_program:GatedProgram",
            packages=("torch",),
            seeds=3,
            mean=True,
            options={"cell": cell, "window": window},
        )
    drawn = {"units": 1000, "draws": 40, "warmup": warmup, "modes": modes}
    for package, program in (("reservoirpy", "ReservoirPyProgram"), ("xesn", "XesnProgram")):
        yield Contender(
            package,
            "peer",
            f"{_HERE}.echo_program:{program}",
            packages=(package,),
            seeds=3,
            mean=True,
            options=drawn,
        )
    for name, program in (
        ("quadratic features (NG-RC), direct", "QuadraticRegression"),
        ("ridge on delays, direct", "DelayRegression"),
        ("linear inverse model, own propagators", "PropagatorRegression"),
    ):
        yield Contender(name, "reference", f"{_HERE}.state_program:{program}", packages=("numpy",))


def field_bars(
    columns: Iterable[ErrorColumn], first: str, results: Mapping[str, PeerResult]
) -> Iterator[BarCheck]:
    """Yield the bars of the comparison on ERA-Interim.

    Parameters
    ----------
    columns : iterable of ErrorColumn
    first : str
        End of the keys of errors at the first lead.
    results : mapping of str to PeerResult
    """
    others = [row for row in results.values() if row.standing != "ours"]
    if (shipped := results.get(SHIPPED)) and others:
        ratios = {
            column.key: shipped.errors[column.key] / min(row.errors[column.key] for row in others)
            for column in columns
        }
        yield BarCheck(
            "error over the least of all peers, worst", max(ratios.values()), 1.001, True
        )
        early = max(ratio for key, ratio in ratios.items() if key.endswith(first))
        yield BarCheck("the same at the first lead", early, 0.98, True)
    for name in (*map(network_name, ERA_WIDTHS), core_name(min(ERA_WIDTHS))):
        if (one := results.get(name)) and (lstm := results.get(LSTM)):
            assert one.fit_seconds is not None
            assert lstm.fit_seconds is not None
            yield BarCheck(
                f"LSTM's fit over that of {name}", lstm.fit_seconds / one.fit_seconds, 20
            )
            if one.search_seconds and lstm.search_seconds:
                yield BarCheck(
                    f"LSTM's search over that of {name}",
                    lstm.search_seconds / one.search_seconds,
                    20,
                )


_CHOICES = (
    "LSTM and GRU (PyTorch, Adam, early stopping on validation): eight settings of head (all leads "
    "at once, or a rollout that is trained through all steps), hidden units and dropout, each with "
    "a linear layer beside the gates. Echo state networks: 1,000 units, 40 random "
    "draws of modes, spectral radius, leak rate, factor of the inputs (log-uniform over 1e-3 to "
    "1e3 of the default), bias and ridge. Quadratic features: modes, delays, number of modes in "
    "products, their weight, and a ridge for each lead. gfrnn_core: sampling, scale, delays, and a "
    "ridge for each lead from the R factors of both periods. Principal components are the same "
    "for all methods that forecast them. Errors of one network are means over three seeds; where "
    "three forecasts are averaged, the time is that of three fits. The fit of an experiment as "
    "shipped includes its search; climatology and EOFs that all methods share are not counted. "
    "Fits of gfrnn are whole fits of an experiment: checks of the files, checkpoints, calibration "
    "by forecasts of the validation period, the stored model. gfrnn_core is the network alone "
    "(SampledRNN in float32, a ridge for each lead), trained on arrays in memory as the networks "
    "of other libraries are."
)

ERA_WIDTHS = (1000, 250)

_ERA_COLUMNS = tuple(
    ErrorColumn(f"rmse_{channel}_{lead}", f"{label} +{lead} d", digits)
    for channel, label, digits in ((0, "z500 (m² s⁻²)", 4), (1, "t850 (K)", 4), (2, "msl (Pa)", 4))
    for lead in (1, 3, 5)
)

ERA_INTERIM = Comparison(
    name="era-interim",
    title="ERA-Interim over western Europe",
    about=(
        "RMSE, area-weighted, 1.5 degrees, 12 UTC daily. Training 2000 to 2007; all settings are "
        "chosen on 2008, which is then added to the training data of all methods; test 2009 and "
        "2010. " + _CHOICES
    ),
    columns=_ERA_COLUMNS,
    contenders=tuple(
        field_contenders(
            "era_interim_europe",
            ERA_WIDTHS,
            window=8,
            warmup=60,
            modes=[20, 40, 80],
            delays=[2, 3],
        )
    ),
    prepare=f"{_HERE}.field_data:prepare",
    options={"experiment": "era_interim_europe", "leads": ["1d", "3d", "5d"]},
    bars=partial(field_bars, _ERA_COLUMNS, "_1"),
)

_SST_COLUMNS = tuple(
    column
    for lead in (3, 6, 9, 12)
    for column in (
        ErrorColumn(f"share_0_{lead}", f"RMSE/climatology +{lead} mo"),
        ErrorColumn(f"index_{lead}", f"Nino 3.4 r +{lead} mo", better="higher"),
    )
)

PACIFIC_SST = Comparison(
    name="pacific-sst",
    title="Sea surface temperature of the tropical Pacific",
    about=(
        "Monthly, 5 degrees. RMSE of the field over that of the climatology, and correlation of "
        "the index Nino 3.4. Training 1900 to 1964, all settings chosen on 1965 to 1984, test 1985 "
        "to 2014. " + _CHOICES
    ),
    columns=_SST_COLUMNS,
    contenders=tuple(
        field_contenders(
            "enso",
            (500, 250),
            window=12,
            warmup=24,
            modes=[5, 10, 15],
            delays=[3, 6, 12],
        )
    ),
    prepare=f"{_HERE}.field_data:prepare",
    options={"experiment": "enso", "leads": ["3mo", "6mo", "9mo", "12mo"]},
)

NATURE = Comparison(
    name="nature",
    title="Nature run of a quasi-geostrophic model",
    about=(
        "RMSE, area-weighted, geopotential at 250 and 750 hPa on 32 x 64 cells every six hours, "
        "simulated without noise. Training 2001 to 2006, all settings are chosen on 2007, test "
        "2008 from all times. The experiment as shipped forecasts waves along longitude with the "
        "advection of the layers as features, which is the kind of the model's own equations; its "
        "fit includes the passes over the data. The other methods forecast 80 principal "
        "components. " + _CHOICES
    ),
    columns=tuple(
        ErrorColumn(f"rmse_{channel}_{4 * days}", f"{label} (m² s⁻²) +{days} d", 4)
        for channel, label in ((0, "z250"), (1, "z750"))
        for days in (1, 3, 5)
    ),
    contenders=tuple(
        field_contenders(
            "nature",
            (1000, 250),
            window=8,
            warmup=60,
            modes=[20, 40, 80],
            delays=[2, 3],
            single="nature_eofs",
        )
    ),
    prepare=f"{_HERE}.field_data:prepare",
    options={"experiment": "nature_eofs", "leads": ["1d", "3d", "5d"]},
)
