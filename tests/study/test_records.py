import json
from pathlib import Path

import pytest

from gtr.errors import GTRError
from gtr.study.records import read_directory, read_metrics
from tests.study.synthetic import known_arms, step_curve, training, write_comparison, write_training

METRICS = Path("runs/gtr/metrics.csv")
CONFIG = Path("runs/gtr/config.json")
DOCUMENT = Path("comparison.json")


def drop_column(text: str) -> str:
    lines = [line.split(",") for line in text.splitlines()]
    gone = lines[0].index("return")
    return "\n".join(",".join(line[:gone] + line[gone + 1 :]) for line in lines) + "\n"


def change_cell(column: str, value: str, line: int = 3):
    def change(text: str) -> str:
        lines = [row.split(",") for row in text.splitlines()]
        lines[line - 1][lines[0].index(column)] = value
        return "\n".join(",".join(row) for row in lines) + "\n"

    return change


def set_field(key: str, value: object):
    return lambda text: json.dumps(json.loads(text) | {key: value})


@pytest.mark.parametrize(
    ("file", "damage", "complaint"),
    [
        (METRICS, lambda text: "", "is empty"),
        (METRICS, lambda text: text[:-20], r"ends in the middle of line 181.*delete that line"),
        (METRICS, lambda text: text[:-40] + "\n", r"line 181 has \d+ cells"),
        (METRICS, drop_column, "lacks the column return"),
        (METRICS, change_cell("entropy", "much"), "line 3: `entropy` must be a number, not 'much'"),
        (METRICS, change_cell("seed", "0.5"), "line 3: `seed` must be a whole number"),
        (METRICS, change_cell("phase", ""), "line 3: `phase` must be a whole number"),
        (METRICS, change_cell("return", ""), "line 3: episodes ended but `return` is ''"),
        (METRICS, change_cell("return", "inf"), "diverged"),
        (METRICS, change_cell("seed", "7"), "holds seed 7, which comparison.json does not list"),
        (METRICS, change_cell("phase", "3", line=181), "holds phase 3, but comparison.json"),
        (METRICS, lambda text: text + text.splitlines()[-1] + "\n", "iteration 59 of seed 2 twice"),
        (METRICS, change_cell("step", "1", line=181), "goes back within a seed"),
        (CONFIG, lambda text: text[:30], "not valid JSON.*cut short"),
        (CONFIG, lambda text: "[]", "must hold a JSON object, not list"),
        (DOCUMENT, lambda text: "", "is empty"),
        (DOCUMENT, lambda text: text[:50], "not valid JSON"),
        (DOCUMENT, lambda text: "{}", "lacks `methods`"),
        (DOCUMENT, set_field("methods", []), "`methods` must be a list of directory names"),
        (DOCUMENT, set_field("methods", ["../x"]), "`methods` must be a list of directory names"),
        (DOCUMENT, set_field("methods", ["a", "a"]), "names a method twice"),
        (DOCUMENT, set_field("seeds", [0, "1"]), "`seeds` must be a list of whole numbers"),
        (DOCUMENT, set_field("phases", "3"), "`phases` must be of type int, not '3'"),
        (DOCUMENT, set_field("phase_steps", 0), "must be at least 1"),
        (DOCUMENT, set_field("versions", []), "`versions` must be of type dict"),
        (DOCUMENT, set_field("step", 3), "`step` must be of type str, not 3"),
        (DOCUMENT, set_field("references", "oracle"), "`references` must be of type list"),
        (DOCUMENT, set_field("references", ["ppo"]), "`references` may hold oracle and random"),
    ],
)
def test_a_damaged_file_is_named_with_the_damage_and_the_mend(known, file, damage, complaint):
    path = known / file
    path.write_text(damage(path.read_text()))
    with pytest.raises(GTRError, match=complaint) as caught:
        read_directory(known)
    message = str(caught.value)
    assert file.name in message
    assert "\n" not in message


def test_bytes_that_are_no_text_are_refused(known):
    (known / METRICS).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(GTRError, match="cannot be read"):
        read_directory(known)


def test_a_directory_with_nothing_to_read_says_what_belongs_there(tmp_path):
    with pytest.raises(GTRError, match="holds neither"):
        read_directory(tmp_path)
    with pytest.raises(GTRError, match="is missing"):
        read_metrics(tmp_path / "metrics.csv")


def test_unmeasured_columns_may_be_absent(known):
    path = known / "runs/random/metrics.csv"
    rows = [line.split(",")[:6] for line in path.read_text().splitlines()]
    path.write_text("\n".join(map(",".join, rows)) + "\n")
    assert read_directory(known).arms["random"].metrics["entropy"].isna().all()


def test_rows_may_come_in_any_order(known):
    path = known / METRICS
    before = read_metrics(path)
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header, *reversed(lines)]) + "\n")
    assert read_metrics(path).equals(before)


def test_a_run_is_finished_when_no_further_iteration_fits(tmp_path):
    arms = {"gtr": training(step_curve(0), (0, 1))}
    # 60 iterations of 100 steps in a budget of 6000; seed 1 lacks the last.
    gtr = arms["gtr"]
    arms["gtr"] = gtr[(gtr["seed"] == 0) | (gtr["iteration"] < 59)]
    directory = write_comparison(tmp_path / "short", arms, (0, 1))
    assert read_directory(directory).finished_seeds("gtr") == (0,)
    # A budget that no whole number of iterations fills is exhausted just before its end.
    document = directory / "comparison.json"
    document.write_text(set_field("phase_steps", 2030)(document.read_text()))
    assert read_directory(directory).finished_seeds("gtr") == (0,)


def test_the_special_arms_are_not_among_the_methods(tmp_path):
    arms = known_arms()
    directory = write_comparison(tmp_path / "named", arms, (0, 1, 2))
    document = directory / "comparison.json"
    document.write_text(set_field("methods", list(arms))(document.read_text()))
    assert read_directory(directory).methods == ("ppo", "gtr", "ppo-kl")


def test_an_unfinished_training_keeps_its_lifetime(tmp_path):
    run = tmp_path / "run"
    write_training(run, training(step_curve(0), (0,)), "gtr")
    lines = (run / "metrics.csv").read_text().splitlines()
    (run / "metrics.csv").write_text("\n".join(lines[:11]) + "\n")
    found = read_directory(run)
    assert (found.phases, found.phase_steps, found.methods) == (3, 2000, ("gtr",))
    assert found.finished_seeds("gtr") == ()


def test_a_training_that_outlives_its_configuration_is_refused(tmp_path):
    run = tmp_path / "run"
    write_training(run, training(step_curve(0), (0,)), "gtr")
    config = run / "config.json"
    config.write_text(set_field("phases", 2)(config.read_text()))
    with pytest.raises(GTRError, match="one of them is of another run"):
        read_directory(run)


def test_a_return_of_no_episode_is_none(tmp_path):
    metrics = training(lambda *_: 1.0, (0,), 1, iterations=3)
    metrics.loc[1, ["episodes", "return"]] = [0, 0.0]
    metrics.to_csv(tmp_path / "metrics.csv", index=False)
    assert read_metrics(tmp_path / "metrics.csv")["return"].isna().tolist() == [False, True, False]
