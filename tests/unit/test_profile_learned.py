"""What `symposium profile` learns from who answered what, when it cannot, and whether it is then used."""

from __future__ import annotations

from pathlib import Path

import pytest

import deploy.measure
from deploy.measure import _learned
from router.calibration import Calibration, Graded, core, profile_of
from router.config import Config
from router.config_file import load
from router.knowledge import Knowledge
from router.learned import Learned
from router.profile import Measured
from router.profiles import Profiles
from router.questions import LabelledQuestion
from tests.api.world import KeywordEmbedder, fitted
from tests.unit.make import YAML, yaml_file

CONFIGS = Path(__file__).resolve().parent.parent.parent / "configs"
TEXT = YAML.replace("routing:\n", f"routing:\n  learned: learned.npz\n  embedder: {{model: {KeywordEmbedder.name}}}\n")
QUESTIONS = [
    LabelledQuestion(question=f"{word} {n}?", answer=str(n), category=category, skills=(category,))
    for n in range(12)
    for word, category in (("What is the sum of one and", "sums"), ("Who wrote book number", "people"))
]
CALIBRATION = Calibration(QUESTIONS, 64)


def graded(expert: str, said: bool = True) -> dict[str, Graded]:
    """ada is right about sums, bob about people."""
    good = {"ada": "sums", "bob": "people"}[expert]
    found = {}
    for key, question in CALIBRATION.by_key.items():
        right = question.category == good
        text = str(question.answer) if right else "99"
        found[key] = Graded(
            expert=expert,
            expert_version="v1",
            engine_version="e",
            question=key,
            right=right,
            output_tokens=1,
            said=core(text) if said else None,
        )
    return found


def measured(*experts: str, said: bool = True) -> Measured:
    """A run in which these experts answered everything."""
    answers = {name: graded(name, said) for name in experts}
    return Measured({name: profile_of(CALIBRATION, given) for name, given in answers.items()}, {}, answers)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Two experts elsewhere, a fitted file, and an embedder that loads no model."""
    fitted().save(tmp_path / "fitted.npz")
    monkeypatch.setattr(deploy.measure, "offline_embedder", lambda *_: KeywordEmbedder())
    return load(yaml_file(tmp_path, TEXT))


def test_what_was_answered_is_learned_from_and_used(config: Config, tmp_path: Path) -> None:
    """The file belongs to the profiles of the same run, and predictions are made with it."""
    found = measured("ada", "bob")
    told = _learned(config, CALIBRATION, found)
    assert told.startswith("learned from 24 questions")
    Profiles(experts=found.profiles).save(tmp_path / "profiles.json")
    known = Knowledge.load(config)
    assert known.learned is not None
    assert known.correctness.blend is not None
    assert known.learned.versions == {"ada": "v1", "bob": "v1"}


def test_what_was_learned_of_other_versions_is_not_used(config: Config, tmp_path: Path) -> None:
    """An expert was measured anew by itself: its profile is right, what was learned of it is not."""
    found = measured("ada", "bob")
    _learned(config, CALIBRATION, found)
    newer = found.profiles["bob"].model_copy(update={"expert_version": "v2"})
    Profiles(experts=found.profiles | {"bob": newer}).save(tmp_path / "profiles.json")
    known = Knowledge.load(config)
    assert (known.learned, known.correctness.blend, known.learned_is_stale) == (None, None, True)


def test_without_a_file_yet_profiles_alone_are_used(config: Config, tmp_path: Path) -> None:
    """A configuration may name the file before anybody was measured."""
    Profiles(experts=measured("ada", "bob").profiles).save(tmp_path / "profiles.json")
    known = Knowledge.load(config)
    assert (known.learned, known.learned_is_stale) == (None, False)


def test_it_takes_answers_of_all_experts(config: Config, tmp_path: Path) -> None:
    """A run for some of them leaves the file as it is, and says so."""
    assert "bob gave none" in _learned(config, CALIBRATION, measured("ada"))
    assert not (tmp_path / "learned.npz").exists()


def test_answers_without_their_text_cannot_be_compared(config: Config, tmp_path: Path) -> None:
    """A run that was begun by an earlier version: the profiles stand all the same."""
    assert "earlier version" in _learned(config, CALIBRATION, measured("ada", "bob", said=False))
    assert not (tmp_path / "learned.npz").exists()


def test_too_few_questions_are_said(config: Config) -> None:
    """They make profiles, and nothing more."""
    few = Calibration(QUESTIONS[:4], 64)
    answers = {name: {key: graded(name)[key] for key in few.by_key} for name in ("ada", "bob")}
    found = Measured({name: profile_of(few, given) for name, given in answers.items()}, {}, answers)
    assert "too few to learn from" in _learned(config, few, found)


def test_a_configuration_that_does_not_want_it_learns_nothing(tmp_path: Path) -> None:
    """`routing.learned` is the operator's choice."""
    assert _learned(load(yaml_file(tmp_path)), CALIBRATION, measured("ada", "bob")) == ""


def test_a_long_answer_is_compared_by_its_digest() -> None:
    """The same text the same, another one another; a short one as it is."""
    long = "word " * 100
    assert core(long) == core(long) != core(long + "more")
    assert (core("The answer is 42."), core("")) == ("42", "")
    assert len(core(long)) <= 64


def test_the_quickstart_s_file_is_of_its_profiles() -> None:
    """Whoever measures one without the other is told here."""
    routing = load(CONFIGS / "quickstart.yaml").routing
    assert routing.learned is not None
    learned = Learned.load(Path(routing.learned), routing.embedder.model)
    assert learned is not None
    now = {name: p.expert_version for name, p in Profiles.load(Path(routing.profiles)).experts.items()}
    assert {name: now[name] for name in learned.versions} == learned.versions
