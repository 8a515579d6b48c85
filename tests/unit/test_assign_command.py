"""From profiles to a map of categories: the problem made of them, and `symposium assign` as a person runs it: what it
reads is what was meant, what it draws is where it is said to be.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from deploy.assign import assign as command
from router.assign import assign
from router.assignment import problem_of
from router.profiles import Count, Profile, Profiles
from router.ranking import ranked
from router.rates import Rates
from tests.unit.make import YAML, candidate, yaml_file

SIZED = YAML.replace("ada-1\n", "ada-1\n    parameters_b: 80\n").replace("bob-1\n", "bob-1\n    parameters_b: 4.5\n")


def profile(**categories: tuple[int, int]) -> Profile:
    """Right answers of those asked in each category, of 200 tokens each."""
    counts = {name: Count(right=right, asked=asked) for name, (right, asked) in categories.items()}
    overall = Count(right=sum(c.right for c in counts.values()), asked=sum(c.asked for c in counts.values()))
    return Profile(
        expert_version="1",
        engine_version="1",
        questions="q",
        overall=overall,
        categories=counts,
        output_tokens=200 * overall.asked,
    )


POOL = Profiles(experts={"ada": profile(math=(9, 10), law=(2, 20)), "bob": profile(math=(1, 10), law=(15, 20))})


def run(folder: Path, *options: str, pool: Profiles = POOL, text: str = YAML, wanted: str = "") -> Result:
    """The command on two experts, with these profiles and the given lines of `routing.assignment`."""
    pool.save(folder / "profiles.json")
    app = typer.Typer()
    app.command()(command)
    file = yaml_file(folder, f"{text}  assignment: {{{wanted}}}\n")
    return CliRunner().invoke(app, [str(file), *options])


def sized(folder: Path, *options: str, wanted: str = "") -> Result:
    """With the sizes."""
    return run(folder, *options, text=SIZED, wanted=wanted)


def said(result: Result) -> str:
    """All that was printed, whatever the width of the screen."""
    return " ".join(result.output.split())


def test_a_problem_has_the_rates_that_recruitment_by_category_orders_by() -> None:
    """The same shrinkage, and the pool's mean for an expert that was never measured."""
    names = ("ada", "bob", "new")
    ones = dict.fromkeys(names, 1.0)
    found = problem_of(POOL, names, ones, ones, 8.0, forced=[("law", "new")])
    assert found.frequencies == pytest.approx({"law": 40 / 60, "math": 20 / 60})
    for category, rates in found.rates.items():
        order = ranked([candidate(n) for n in names], "category", Rates.of(POOL.experts, 8.0), category, seed="")
        assert rates == pytest.approx({c.expert: c.score for c in order})
    assert assign(found).experts == {"law": "new", "math": "ada"}


def test_only_the_given_experts_count() -> None:
    """Neither the frequencies nor the assignment know of others; nobody measured is an error."""
    pool = Profiles(experts={**POOL.experts, "cy": profile(art=(30, 30))})
    one = {"bob": 1.0}
    assert assign(problem_of(pool, ["bob"], one, one, 8.0)).experts == {"law": "bob", "math": "bob"}
    for nobody, names in ((pool, ["new"]), (Profiles(), ["bob"])):
        with pytest.raises(ValueError, match="none of these experts was measured in any category"):
            problem_of(nobody, names, dict.fromkeys(names, 1.0), dict.fromkeys(names, 1.0), 8.0)
    with pytest.raises(ValueError, match="costs: of the experts that have a size, and of no other; look at ada"):
        problem_of(POOL, ["ada", "bob"], {"ada": 1.0, "bob": 1.0}, one, 8.0)


def test_without_budgets_each_category_has_its_best(tmp_path: Path) -> None:
    """The map, with what was measured; a query's cost is of prompt and mean answer, at the expert's price."""
    done = run(tmp_path, wanted="prompt_tokens: 100")
    assert done.exit_code == 0, done.output
    for words in ("ada", "9/10", "bob", "15/20", "66.7%", "right by 2 experts, 0.0005 USD a query"):
        assert words in said(done)
    assert "resident" not in said(done)


def test_a_resident_budget_leaves_one_of_two(tmp_path: Path) -> None:
    """As JSON, and nothing else on stdout. The option stands above what the configuration says."""
    done = sized(tmp_path, "--resident-b", "8", "--json", wanted="prompt_tokens: 100, resident_b: 100")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["front"] is None
    assert found["assignment"]["experts"] == {"law": "bob", "math": "bob"}
    assert found["assignment"]["resident_b"] == 4.5
    assert found["assignment"]["cost_usd"] == pytest.approx(5e-4)
    assert found["assignment"]["rates"].keys() == {"law", "math"}
    within = json.loads(sized(tmp_path, "--json", wanted="resident_b: 8").stdout)["assignment"]
    assert within["experts"] == {"law": "bob", "math": "bob"}
    unsized = json.loads(run(tmp_path, "--json").stdout)["assignment"]
    assert unsized["resident_b"] is None
    assert unsized["experts"] == {"law": "bob", "math": "ada"}


def test_the_front_is_printed_and_drawn(tmp_path: Path) -> None:
    """A line for each resident budget that changes something; the picture needs no display."""
    picture = tmp_path / "deep" / "front.png"
    done = sized(tmp_path, "--pareto", "--plot", str(picture))
    assert done.exit_code == 0, done.output
    for words in ("the best of every resident budget", "│ 4.5 │", "│ 84.5 │", "84.5 B parameters resident", "drawn to"):
        assert words in said(done)
    assert picture.read_bytes().startswith(b"\x89PNG")
    front = json.loads(sized(tmp_path, "--pareto", "--json").stdout)["front"]
    assert [point["resident_b"] for point in front] == [4.5, 84.5]


def test_pairs_are_kept(tmp_path: Path) -> None:
    """Forced and forbidden ones of the configuration."""
    done = run(tmp_path, "--json", wanted="forced: {math: bob}, forbidden: {law: [bob], math: [ada]}")
    assert json.loads(done.stdout)["assignment"]["experts"] == {"law": "ada", "math": "bob"}


def test_an_expert_without_a_profile_is_named(tmp_path: Path) -> None:
    """It counts as the mean of the others, and that is said."""
    done = run(tmp_path, pool=Profiles(experts={"ada": POOL.experts["ada"]}))
    assert done.exit_code == 0, done.output
    assert "never measured: bob" in said(done)


@pytest.mark.parametrize(
    ("options", "wanted", "words"),
    [
        (["--resident-b", "24"], "", "not known without experts.*.parameters_b of ada, bob"),
        (["--pareto"], "", "not known without experts.*.parameters_b of ada, bob"),
        ([], "forced: {maths: ada}", "maths=ada: there is no such category, or no such expert"),
        (["--cost-usd", "0.0001"], "", "a mean cost of 0.0001 cannot be kept: the smallest that can is 0.000656"),
        ([], "usd_per_query: 0.0001", "a mean cost of 0.0001 cannot be kept: the smallest that can is 0.000656"),
    ],
)
def test_mistakes_end_in_plain_words(tmp_path: Path, options: list[str], wanted: str, words: str) -> None:
    """Exit code 1, and what to do."""
    done = run(tmp_path, *options, wanted=wanted)
    assert done.exit_code == 1
    assert words in said(done)


def test_a_picture_is_where_it_is_said_to_be(tmp_path: Path) -> None:
    """A name without an ending gets one, and is named with it; sizes far apart are drawn on a logarithmic axis."""
    done = sized(tmp_path, "--plot", str(tmp_path / "front"))
    assert done.exit_code == 0, done.output
    assert f"drawn to {tmp_path / 'front.png'}" in done.stdout.replace("\n", "")
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_command_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is solved; all else works without it."""
    monkeypatch.setattr("router.pictures.find_spec", lambda _: None)
    done = sized(tmp_path, "--plot", "front.png")
    assert done.exit_code == 1
    assert "a picture needs matplotlib, which is not installed: pip install matplotlib" in said(done)
    assert "solving" not in said(done)
    assert sized(tmp_path, "--pareto").exit_code == 0
