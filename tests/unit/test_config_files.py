"""A configuration of several files, and of the environment's values: what wins, where it is, what is kept secret."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from router.config import Config
from router.config_file import ConfigError, Inspected, inspect_config, load
from router.yaml_env import hidden
from router.yaml_files import MAX_BYTES, MAX_FILES
from tests.unit.make import YAML, yaml_file

SECRET = "sk-it-is-a-secret"
HOSTED = YAML.replace(
    "experts:\n",
    """\
engines:
  e: {model: org/m, accelerator: cpu}
experts:
  own: {engine: e, context_tokens: 10, price: {input_usd_per_mtok: 1, output_usd_per_mtok: 1}}
""",
)


def files(folder: Path, **texts: str) -> Path:
    """Files of these names in a folder; the first one."""
    for name, text in texts.items():
        path = folder / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / f"{next(iter(texts))}.yaml"


def inspected(path: Path, **environ: str) -> Inspected:
    return inspect_config(path, environ=environ)


def config(path: Path, **environ: str) -> Config:
    found = inspected(path, **environ)
    assert found.problems == []
    assert found.config is not None
    return found.config


def said(path: Path, **environ: str) -> list[str]:
    found = inspected(path, **environ)
    assert found.config is None
    return [str(problem).removeprefix(f"{path.parent}/") for problem in found.problems]


def test_the_including_file_wins_key_by_key(tmp_path: Path) -> None:
    """Mappings are merged, lists and values replaced; a later include wins over an earlier one."""
    path = files(
        tmp_path,
        main="include: [first.yaml, second.yaml]\nexperts: {ada: {context_tokens: 7}}\n"
        "policies: {auto: {waves: [2]}}\n",
        first=YAML + "policies: {auto: {max_experts: 2, waves: [1, 1], min_share: 0.1}}\n",
        second="policies: {auto: {max_experts: 3}, more: {}}\nexperts: {ada: {context_tokens: 8, model: ada-2}}\n",
    )
    found = config(path)
    auto, ada = found.policies["auto"], found.experts["ada"]
    assert (auto.max_experts, auto.waves, auto.min_share) == (3, (2,), 0.1)
    assert (ada.context_tokens, ada.model, ada.base_url) == (7, "ada-2", "http://ada.test/v1")
    assert set(found.policies) == {"auto", "more"}


def test_paths_start_at_the_file_they_are_written_in(tmp_path: Path) -> None:
    """An included file may be moved with what it names; data lies beside the file that was asked for."""
    (tmp_path / "parts" / "base").mkdir(parents=True)
    path = files(
        tmp_path,
        main="include: [parts/engines.yaml]\nrouting: {learned: learned.npz}\n",
        parts__engines=HOSTED.replace("org/m", "./base"),
    )
    found = config(path)
    assert found.engines["e"].model == str(tmp_path / "parts" / "base")
    assert found.routing.fitted == str(tmp_path / "parts" / "fitted.npz")
    assert (found.routing.learned, found.data) == (str(tmp_path / "learned.npz"), str(tmp_path / "data"))


def test_a_problem_has_the_file_and_line_where_it_is_written(tmp_path: Path) -> None:
    """Also in what is included by what is included."""
    path = files(
        tmp_path,
        main="include: [parts/a.yaml]\npolicies: {auto: {max_experts: 0}}\n",
        parts__a="include: [../b.yaml]\nserver:\n  hots: x\n",
        b=YAML.replace("general_expert: ada", "general_expert: adda"),
    )
    assert said(path) == [
        "b.yaml:16:3: routing.general_expert: unknown 'adda'; did you mean 'ada'?",
        "main.yaml:2:19: policies.auto.max_experts: Input should be greater than or equal to 1",
        "parts/a.yaml:3:3: server.hots: unknown key; did you mean 'host'?",
    ]


@pytest.mark.parametrize(
    ("include", "words"),
    [
        ("[nothing.yaml]", "main.yaml:1:11: include.0: 'nothing.yaml' cannot be read: No such file or directory"),
        ("[.]", "is no file"),
        ("['a\\0b']", "special characters are not allowed"),
        ('["a\\x00b"]', "include.0: a path cannot be one: embedded null byte"),
        ("other.yaml", "write a list of files"),
        ("[1]", "write a list of files"),
        ("[main.yaml]", "'main.yaml' includes itself by way of others"),
        ("[noise.yaml]", "'noise.yaml' is not UTF-8 text"),
        ("[long.yaml]", f"'long.yaml' is longer than {MAX_BYTES} bytes"),
        ("[list.yaml]", "list.yaml:1:1: the file must hold a mapping"),
        ("[broken.yaml]", "broken.yaml:2:1: "),
    ],
)
def test_what_cannot_be_included_is_said_alone(tmp_path: Path, include: str, words: str) -> None:
    """What is missing without that file is not said as well: it may all be there."""
    files(tmp_path, list="- a\n", broken="a: [\n")
    (tmp_path / "noise.yaml").write_bytes(b"\xff")
    (tmp_path / "long.yaml").write_text("#" * (MAX_BYTES + 1))
    (problem,) = said(files(tmp_path, main=f"include: {include.replace(chr(92) + '0', chr(0))}\n"))
    assert words in problem


def test_links_in_a_circle_are_said(tmp_path: Path) -> None:
    """As an include, as a value, and as the file itself: a line each, and no traceback."""
    (tmp_path / "ring").symlink_to(tmp_path / "ring")
    (problem,) = said(files(tmp_path, main="include: [ring]\n"))
    assert problem.startswith("main.yaml:1:11: include.0: 'ring' cannot be read: ")
    (problem,) = said(files(tmp_path, main=YAML + "  embedder: {model: ./ring}\n"))
    assert "routing.embedder.model: no such file" in problem
    assert any("cannot be read" in str(problem) for problem in inspect_config(tmp_path / "ring").problems)


def test_includes_end(tmp_path: Path) -> None:
    """Circles of several files are found, depth and number are bounded; the same file twice is fine."""
    circle = files(tmp_path, a="include: [b.yaml]\n", b="include: [a.yaml]\n")
    assert said(circle) == [
        "b.yaml:1:11: include.0: 'a.yaml' includes itself by way of others; remove one of the includes"
    ]
    deep = files(tmp_path, **{f"d{i}": f"include: [d{i + 1}.yaml]\n" for i in range(20)})
    assert "more than 8 deep" in said(deep)[0]
    wide = files(tmp_path, wide=f"include: [{', '.join(['one.yaml'] * MAX_FILES)}]\n", one="{}\n")
    assert f"than the {MAX_FILES} files" in said(wide)[0]
    twice = files(
        tmp_path, twice="include: [l.yaml, r.yaml]\n", l="include: [s.yaml]\n", r="include: [s.yaml]\n", s=YAML
    )
    assert len(config(twice).experts) == 2


def test_all_files_are_known_as_they_were_written(tmp_path: Path) -> None:
    """A version can be kept and served again: texts, and no values of the environment; they need not be on disk."""
    path = files(tmp_path, main="include: [x.yaml]\n", x=YAML.replace("ada-1", "${M}"))
    kept = inspected(path, M="ada-1").tree.files
    assert {file.name for file in kept} == {"main.yaml", "x.yaml"}
    assert "model: ${M}" in kept[tmp_path / "x.yaml"]
    (tmp_path / "x.yaml").unlink()
    path.unlink()
    again = inspect_config(path, lambda file: kept[file], {"M": "ada-1"}).config
    assert again is not None
    assert again.experts["ada"].model == "ada-1"


def test_variables_give_every_kind_of_value(tmp_path: Path) -> None:
    """Texts, numbers, switches, paths, engine arguments: a field reads the text as what it is."""
    engine = (
        "model: org/m\n    accelerator: ${ACC}\n    cpus: ${CPUS}\n    env: {T: '${T}'}\n"
        "    args:\n      max-model-len: ${LEN}\n      enforce-eager: ${EAGER}\n"
    )
    text = HOSTED.replace("  e: {model: org/m, accelerator: cpu}\n", f"  e:\n    {engine}")
    text = text.replace("fitted: fitted.npz", "fitted: ${WHERE}/fitted.npz")
    path = yaml_file(tmp_path, text + "server:\n  public_metrics: ${OPEN:-false}\n")
    found = config(path, ACC="cpu", CPUS="2", T="1234", LEN="4096", EAGER="true", WHERE="/srv")
    made = found.engines["e"]
    assert (made.accelerator, made.cpus, made.env) == ("cpu", 2, {"T": "1234"})
    assert made.args == {"max-model-len": "4096", "enforce-eager": True}
    assert (found.routing.fitted, found.server.public_metrics) == ("/srv/fitted.npz", False)


def test_the_real_environment_is_used_by_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`load` is what every command calls."""
    path = yaml_file(tmp_path, YAML.replace("ada-1", "${SYMPOSIUM_TEST_MODEL}"))
    with pytest.raises(ConfigError, match=r"symposium\.yaml:5:12: experts\.ada\.model: the environment variable"):
        load(path)
    monkeypatch.setenv("SYMPOSIUM_TEST_MODEL", "ada-9")
    assert load(path).experts["ada"].model == "ada-9"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("general_expert: ada", "general_expert: ${S}"),
        ("fitted: fitted.npz", "fitted: fitted.npz\n  embedder: {model: ./${S}}"),
        ("context_tokens: 1000", "context_tokens: ${S}"),
        ("version: 1", "version: ${S}"),
        ("http://ada.test/v1", "${S}"),
        ("version: 1", "version: 1\nengines: {e: {model: /${S}, accelerator: '${S}'}}"),
        ("version: 1", "version: 1\ninclude: ['${S}.yaml']"),
        ("version: 1", "version: 1\nserver: {api_keys: [{name: '${S}', sha256: '${S}'}]}"),
        ("version: 1", "version: 1\npolicies: {auto: {experts: ['${S}', '${S}'], recruit: '${S}'}}"),
    ],
)
@pytest.mark.parametrize("secret", [SECRET, "it's \\ two\nlines", "../x"])
def test_no_message_shows_a_value_of_the_environment(tmp_path: Path, old: str, new: str, secret: str) -> None:
    """Wherever a secret stands and whatever is wrong with it: the message has the text as written."""
    found = inspected(yaml_file(tmp_path, YAML.replace(old, new, 1)), S=secret)
    assert found.problems
    told = "\n".join(problem.message for problem in found.problems)
    assert secret not in told
    assert repr(secret)[1:-1] not in told


def test_a_configuration_shows_no_value_of_the_environment(tmp_path: Path) -> None:
    """Neither its shown form nor its version: a version is a digest. A replica gets the values all the same."""
    text = HOSTED.replace("accelerator: cpu", "accelerator: cpu, env: {T: '${S}'}, args: {x: '${S}'}")
    text = text.replace("http://ada.test/v1", "http://u:${S}@ada.test/v1")
    found = config(yaml_file(tmp_path, text), S=SECRET)
    shown = f"{found} {found!r} {found.engines} {found.experts} {found.hash}"
    assert SECRET not in shown
    assert found.hash != config(yaml_file(tmp_path, text), S="sk-another").hash
    assert pickle.loads(pickle.dumps(found)).engines["e"].env == {"T": SECRET}  # noqa: S301  # our own


def test_short_values_are_hidden_where_they_are_quoted() -> None:
    """Letters that occur everywhere would garble messages; longer values are hidden first."""
    assert hidden("unknown 'a' at all", {"N": "a"}) == "unknown '${N}' at all"
    assert hidden("abcdef abc", {"N": "abc", "M": "abcdef"}) == "${M} ${N}"
