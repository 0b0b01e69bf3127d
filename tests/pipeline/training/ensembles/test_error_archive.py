"""The archive of errors: what is stored is drawn, standardised and centred."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

from gfrnn.pipeline.data.grid import Channel, Grid
from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.training.ensembles import error_archive
from gfrnn.pipeline.training.ensembles.error_archive import (
    SYSTEMS,
    ErrorArchive,
    perturbations,
    shrunk_mean,
)
from gfrnn.pipeline.training.model_checks.consistency import _check_errors

STARTS, LEADS, CHANNELS, CELLS = 80, 3, 2, 5
UNIT = np.array([10.0, 0.1])


def stamps(count: int) -> np.ndarray:
    first = np.datetime64("2001-01-01", "ns")
    return first + 5 * np.arange(count) * np.timedelta64(1, "D")


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> tuple[ErrorArchive, dict[str, np.ndarray]]:
    """Store errors that are larger in winter, and a diverged forecast."""
    path: Path = tmp_path_factory.mktemp("errors")
    rng = np.random.default_rng(0)
    initial = stamps(STARTS)
    valid = initial[:, None] + np.arange(1, LEADS + 1) * np.timedelta64(1, "D")
    day = (valid - initial[0]) / np.timedelta64(1, "D")
    sizes = np.exp(0.5 * np.cos(2 * np.pi * day / 365.25))[:, :, None, None] * UNIT[:, None]
    errors = {name: sizes * rng.normal(size=(STARTS, LEADS, CHANNELS, CELLS)) for name in SYSTEMS}
    errors["linear"][7, 2:] = np.nan
    archive = ErrorArchive(path / "errors")
    assert not archive.exists
    archive.create(valid, UNIT, CELLS, 32)
    assert archive.exists
    for first in range(0, STARTS, 32):
        archive.write(first, {name: each[first : first + 32] for name, each in errors.items()})
    half = archive.path / "forecast" / "c" / "0.0123abcd.partial"  # of a worker that was killed
    half.write_bytes(b"half")
    archive.finish(
        {name: np.square(each).mean(axis=3) for name, each in errors.items()},
        {name: each.mean(axis=3) for name, each in errors.items()},
    )
    assert not half.exists()
    half.write_bytes(b"half")  # of a worker that was given up, and ends later
    ErrorArchive(archive.path).check()
    half.unlink()
    return ErrorArchive(archive.path), errors


def test_a_store_that_is_half_created_does_not_exist(tmp_path, monkeypatch):
    """A fit that is stopped then would otherwise go on with times of validity in 1970."""
    valid = stamps(4)[:, None]
    archive, real = ErrorArchive(tmp_path / "errors"), zarr.Group.create_array

    def stops(group, name, **options):
        if name == "valid_time":
            real(group, name, shape=valid.shape, dtype=np.int64)
            raise KeyboardInterrupt
        return real(group, name, **options)

    with monkeypatch.context() as patch:
        patch.setattr(zarr.Group, "create_array", stops)
        with pytest.raises(KeyboardInterrupt):
            archive.create(valid, UNIT, CELLS, 2)
    assert not archive.exists
    archive.create(valid, UNIT, CELLS, 2)
    np.testing.assert_array_equal(archive.valid_time, valid)


@pytest.mark.parametrize("diverged", [11, 40])
def test_forecasts_that_diverge_are_refused_if_few_others_remain(tmp_path, diverged):
    archive = ErrorArchive(tmp_path / "errors")
    archive.create(stamps(40)[:, None], UNIT, CELLS, 8)
    squares = np.ones((40, 1, CHANNELS))
    squares[:diverged] = np.nan
    with pytest.raises(RunError, match=rf"from {diverged} of 40 initial .*at least 30 others"):
        archive.finish(dict.fromkeys(SYSTEMS, squares), dict.fromkeys(SYSTEMS, 0 * squares))


def test_errors_come_back_in_units_of_their_standard_deviation(stored):
    archive, errors = stored
    chosen = np.array([3, 50, 3])
    for system in SYSTEMS:
        found = archive.errors(system, chosen, slice(1, 3), slice(None))
        for place, start in enumerate(chosen):
            for lead in (1, 2):
                valid = archive.valid_time[start, lead : lead + 1]
                size = archive.deviations(system, valid, lead)[0]
                expected = errors[system][start, lead] / size[:, None]
                np.testing.assert_allclose(found[place, lead - 1], expected, rtol=2e-3, atol=1e-4)
    standard = archive.errors("forecast", archive.usable, slice(None), slice(None))
    np.testing.assert_allclose(np.square(standard).mean(axis=(0, 3)), 1, rtol=2e-3)


def test_the_seasons_of_errors_are_found(stored):
    archive, _ = stored
    winter, summer = (np.array([day], "datetime64[ns]") for day in ("2001-01-05", "2001-07-05"))
    ratio = archive.deviations("forecast", winter, 0) / archive.deviations("forecast", summer, 0)
    np.testing.assert_allclose(ratio, np.exp(1.0), rtol=0.35)


def test_many_errors_are_read_as_they_are_drawn(stored, monkeypatch):
    archive, _ = stored
    chosen = np.array([70, 2, 2, 41])
    expected = archive.errors("forecast", chosen, slice(0, 2), slice(1, 2))
    monkeypatch.setattr(error_archive, "KEPT_BYTES", 0)
    found = ErrorArchive(archive.path).errors("forecast", chosen, slice(0, 2), slice(1, 2))
    np.testing.assert_array_equal(found, expected)


def test_draws_depend_on_the_initial_time_the_members_and_the_seed(stored):
    archive, _ = stored
    initial = stamps(6)
    drawn = archive.draw(initial, 20, seed=3)
    assert drawn.shape == (6, 20)
    np.testing.assert_array_equal(archive.draw(initial[[4, 1]], 20, seed=3), drawn[[4, 1]])
    assert all(len(set(row)) == 20 for row in drawn.tolist())
    assert len({tuple(row) for row in drawn.tolist()}) == 6
    assert (archive.draw(initial, 20, seed=4) != drawn).any(axis=1).all()
    before = np.array(["1969-12-31", "1970-01-02"], "datetime64[ns]")
    assert (archive.draw(before, 20, 0)[0] != archive.draw(before, 20, 0)[1]).any()


def test_diverged_forecasts_are_not_drawn(stored):
    archive, _ = stored
    assert 7 not in archive.usable
    assert len(archive.usable) == STARTS - 1
    many = archive.draw(stamps(3), 2 * STARTS, seed=0)  # with replacement
    assert set(many.reshape(-1)) <= set(archive.usable)


def test_perturbations_have_no_mean_and_the_variance_of_one_more_member():
    rng = np.random.default_rng(2)
    sizes = np.array([[1.0, 5.0]])
    variance = np.zeros(2)
    for _ in range(400):
        errors = rng.normal(size=(5, 1, 2, 30)).astype(np.float32)
        found = perturbations(errors, sizes, np.zeros((1, 2)))
        np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-5)
        variance += found.var(axis=0, ddof=1).mean(axis=(0, 2))
    # Times (M + 1) / M, it is the mean squared error of the centre.
    np.testing.assert_allclose(variance / 400 * 6 / 5, [1, 25], rtol=0.03)


def test_perturbations_are_centred_on_the_bias():
    errors = np.random.default_rng(2).normal(size=(5, 1, 2, 30)).astype(np.float32)
    found = perturbations(errors, np.array([[1.0, 5.0]]), np.array([[0.2, -0.1]]))
    np.testing.assert_allclose(found.mean(axis=0), [[[0.2] * 30, [-0.5] * 30]], atol=1e-5)


def test_a_mean_within_its_standard_error_counts_for_nothing():
    rng = np.random.default_rng(0)
    noise = np.repeat(rng.normal(size=(40, 200)), 10, axis=0)  # correlated with its neighbours
    found = shrunk_mean(noise)
    assert (found == 0).mean() > 0.5
    assert np.square(found).mean() < 0.7 * np.square(noise.mean(axis=0)).mean()
    sure = shrunk_mean(noise + 5.0)
    np.testing.assert_allclose(sure, (noise + 5.0).mean(axis=0), rtol=0.01)
    np.testing.assert_array_equal(shrunk_mean(np.zeros((80, 3))), 0.0)


@pytest.mark.parametrize("days", [1300, 1500])
def test_the_bias_of_less_than_four_years_is_not_kept(tmp_path, days):
    """A bias of one year is not assumed to last until the next."""
    archive = ErrorArchive(tmp_path / "errors")
    valid = stamps(40)[0] + np.linspace(0, days, 40).astype(int)[:, None] * np.timedelta64(1, "D")
    archive.create(valid, UNIT, CELLS, 40)
    squares = dict.fromkeys(SYSTEMS, np.full((40, 1, CHANNELS), 4.0))
    archive.finish(squares, dict.fromkeys(SYSTEMS, np.full((40, 1, CHANNELS), -1.0)))
    wanted = -0.5 if days == 1500 else 0.0
    for system in SYSTEMS:
        np.testing.assert_allclose(archive.bias(system), np.full((1, CHANNELS), wanted), rtol=1e-6)


def test_archives_without_a_bias_have_none(stored, tmp_path):
    archive, _ = stored
    archive.copy(tmp_path / "old")
    shutil.rmtree(tmp_path / "old" / "forecast_bias")
    old = ErrorArchive(tmp_path / "old")
    np.testing.assert_array_equal(old.bias("forecast"), np.zeros((LEADS, CHANNELS)))


def test_a_copy_is_a_store_of_its_own(stored, tmp_path):
    archive, _ = stored
    archive.copy(tmp_path / "copy")
    copy = ErrorArchive(tmp_path / "copy")
    chosen = np.array([1, 2])
    np.testing.assert_array_equal(
        copy.errors("linear", chosen, slice(None), slice(None)),
        archive.errors("linear", chosen, slice(None), slice(None)),
    )


@pytest.fixture
def copy(stored, tmp_path) -> ErrorArchive:
    shutil.copytree(stored[0].path, tmp_path / "errors")
    return ErrorArchive(tmp_path / "errors")


def files_of(archive: ErrorArchive, name: str) -> list[Path]:
    return [path for path in sorted((archive.path / name / "c").rglob("*")) if path.is_file()]


@pytest.mark.parametrize(
    "name", [*SYSTEMS, "unit", "valid_time", "usable", "forecast_scale", "forecast_bias"]
)
def test_a_missing_file_is_found_and_named(copy, name):
    copy.check()
    files_of(copy, name)[0].unlink()
    with pytest.raises(ValueError, match=f"the array errors/{name} was changed"):
        copy.check()


def test_a_flipped_bit_in_any_error_is_found_when_it_is_read(copy, monkeypatch):
    rng = np.random.default_rng(0)
    starts = np.arange(STARTS)
    for kept in (error_archive.KEPT_BYTES, 0):
        monkeypatch.setattr(error_archive, "KEPT_BYTES", kept)
        for file in files_of(copy, "forecast"):
            whole = file.read_bytes()
            damaged = bytearray(whole)
            damaged[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
            file.write_bytes(damaged)
            with pytest.raises(RunError, match="is damaged, forecast cannot be read"):
                ErrorArchive(copy.path).errors("forecast", starts, slice(None), slice(None))
            file.write_bytes(whole)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((LEADS, 1)), r"errors/linear_bias: has the shape \(3, 1\), not \(3, 2\)"),
        (np.full((LEADS, CHANNELS), np.nan), "errors/linear_bias has values that are not finite"),
    ],
)
def test_a_bias_that_no_fit_makes_is_refused(copy, values, message):
    """Whoever changes a model can write its digests too."""
    grid = Grid((Channel("a"), Channel("b")), np.array([0.0]), np.arange(float(CELLS)))
    _check_errors(copy, grid)
    group = zarr.open_group(copy.path, mode="r+", use_consolidated=False)
    group.create_array("linear_bias", data=values, overwrite=True)
    with pytest.raises(ValueError, match=message):
        _check_errors(ErrorArchive(copy.path), grid)
