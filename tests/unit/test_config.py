"""The routing YAML: what loads, and everything that is wrong with what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.config import Config
from router.config_file import ConfigError, load
from tests.unit.make import HOSTED, YAML, yaml_file

REPOSITORY = Path(__file__).resolve().parents[2]


def problems(folder: Path, text: str) -> list[str]:
    """All that is wrong with this text, without the places."""
    with pytest.raises(ConfigError) as caught:
        load(yaml_file(folder, text))
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return [str(problem).removeprefix(f"{problem.place}: ") for problem in caught.value.found]


@pytest.mark.parametrize("name", ["configs/one-gpu.yaml", "configs/remote.yaml", "loadtest/liveness.yaml"])
def test_every_configuration_of_the_repository_loads(name: str) -> None:
    """What the README names is valid."""
    assert "auto" in load(REPOSITORY / name).policies


def test_the_quickstart_loads() -> None:
    """The configuration that newcomers start with is valid, with absolute paths to what it names."""
    config = load(REPOSITORY / "configs" / "quickstart.yaml")
    assert {"auto", "panel", "fast"} <= set(config.policies)
    assert config.routing.general_expert in config.experts
    assert all(Path(e.model).is_dir() for e in config.engines.values())
    assert Path(config.routing.fitted).is_absolute()


def test_the_smallest_configuration_has_the_stated_defaults(tmp_path: Path) -> None:
    """Loopback, no keys, the policy `auto` over all experts."""
    config = load(yaml_file(tmp_path))
    assert (config.server.host, config.server.api_keys) == ("127.0.0.1", ())
    assert set(config.policies) == {"auto"}
    assert config.policies["auto"].experts is None


def test_relative_paths_start_at_the_files_own_folder(tmp_path: Path) -> None:
    """Fitted and profiles always; models only where they begin with a dot or a slash: else they are hub ids."""
    (tmp_path / "base").mkdir()
    config = load(yaml_file(tmp_path, HOSTED.replace("model: org/base", "model: ./base")))
    assert config.engines["gpu0"].model == str(tmp_path / "base")
    assert config.experts["poet"].lora == "org/poet"
    assert config.routing.fitted == str(tmp_path / "fitted.npz")


def test_an_engines_adapters_and_its_experts_tokenizers(tmp_path: Path) -> None:
    """LoRA experts by engine; a hosted expert counts with its engine's model, one elsewhere with its own or none."""
    config = load(yaml_file(tmp_path, HOSTED))
    assert config.loras("gpu0") == {"poet": "org/poet"}
    assert (config.tokenizer("poet"), config.tokenizer("ada")) == ("org/base", None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (YAML + "polices: {}\n", "polices: unknown key; did you mean 'policies'?"),
        (YAML.replace("price:", "prise:", 1), "experts.ada.prise: unknown key; did you mean 'price'?"),
        (YAML + "zzzzz: 1\n", "zzzzz: unknown key; known here: " + ", ".join(sorted(Config.model_fields))),
        (
            YAML.replace("    price: {input_usd_per_mtok: 1.0, output_usd_per_mtok: 2.0}\n", "", 1),
            "experts.ada.price: missing: an owned GPU is not free; give input_usd_per_mtok and output_usd_per_mtok "
            "(US dollars per million tokens), or what `symposium price` measures of an engine of your own",
        ),
        (
            YAML.replace("general_expert: ada", "general_expert: adda"),
            "routing.general_expert: unknown 'adda'; did you mean 'ada'?",
        ),
        (
            YAML + "policies: {auto: {experts: [zoe]}}\n",
            "policies.auto.experts.0: unknown 'zoe'; known: ada, bob",
        ),
        (
            YAML + "policies: {auto: {}, ada: {}}\n",
            "policies.ada: an expert has the same name; models must differ",
        ),
        (
            YAML + "policies: {fast: {}}\n",
            "policies: 'auto' is missing; it is what clients ask for by default",
        ),
        (
            HOSTED.replace("model: ada-1", "engine: gpu0"),
            "experts.ada: give exactly one of engine (hosted here) and base_url (hosted elsewhere)",
        ),
        (
            HOSTED.replace("engine: gpu0, lora", "engine: gpu1, lora"),
            "experts.poet.engine: unknown 'gpu1'; did you mean 'gpu0'?",
        ),
        (
            HOSTED.replace("lora: org/poet, ", ""),
            "experts.poet: 'base' already is the base model of gpu0; give it a lora",
        ),
        (
            YAML + "engines: {idle: {model: org/m, accelerator: cpu}}\n",
            "engines.idle: no expert uses it; remove it or add one",
        ),
        (
            HOSTED.replace("accelerator: cpu", "accelerator: cpu, args: {api-key: x}"),
            "engines.gpu0.args: args.api-key is set by symposium; remove it",
        ),
        (
            HOSTED.replace("accelerator: cpu", "accelerator: gpu"),
            "engines.gpu0: accelerator: gpu needs gpus > 0 (a fraction, or the tensor-parallel size)",
        ),
        (
            HOSTED.replace("model: org/base", "model: /nowhere/base"),
            "engines.gpu0.model: no such file: /nowhere/base",
        ),
        (
            YAML + "server: {api_keys: [{name: ada, sha256: abc}]}\n",
            "server.api_keys.0.sha256: String should match pattern '^[0-9a-f]{64}$'",
        ),
        (YAML.replace("version: 1", "version: 2"), "version: Input should be 1"),
        (
            YAML + "policies: {auto: {categories: {math: merge}}}\n",
            "policies.auto.categories.math: Input should be 'auto', 'single', 'vote', 'consensus' or 'synthesize'",
        ),
        (YAML + "policies: {auto: {decided_at: 0}}\n", "policies.auto.decided_at: Input should be greater than 0"),
        (YAML + "convening: {hedge_quantile: 1}\n", "convening.hedge_quantile: Input should be less than 1"),
        (YAML + "convening: {breakers: {keeps: 2}}\n", "convening.breakers.keeps: unknown key; did you mean 'keep'?"),
        (
            YAML + "policies: {auto: {recruit: category, target_usd_per_query: 0.001}}\n",
            "policies.auto.target_usd_per_query: needs recruit 'predicted'; others do not look at prices",
        ),
        (
            YAML + "  assignment: {forced: {math: adda}}\n",
            "routing.assignment.forced.math: unknown 'adda'; did you mean 'ada'?",
        ),
        (
            YAML + "  assignment: {forbidden: {math: [ada, bobb]}}\n",
            "routing.assignment.forbidden.math.1: unknown 'bobb'; did you mean 'bob'?",
        ),
        (
            YAML.replace("model: ada-1", "model: ada-1\n    parameters_b: 7") + "  assignment: {resident_b: 8}\n",
            "routing.assignment.resident_b: needs parameters_b of every expert; missing: bob",
        ),
        (
            HOSTED.replace("accelerator: cpu", "accelerator: cpu, parameters_b: 7") + "  assignment: {resident_b: 8}\n",
            "routing.assignment.resident_b: needs parameters_b of every expert; missing: poet, ada, bob",
        ),
        ("", "the file must hold a mapping; start with `version: 1`"),
        ("- a\n", "the file must hold a mapping; start with `version: 1`"),
    ],
)
def test_what_is_wrong_is_said_with_its_path_and_a_remedy(tmp_path: Path, text: str, problem: str) -> None:
    """One line per problem: where, what, and what to write instead where that can be guessed."""
    assert problem in problems(tmp_path, text)


@pytest.mark.parametrize(
    ("addition", "words"),
    [
        ("version: 1\n", "'version' is written twice"),
        ("server: {host: a, host: b}\n", "'host' is written twice"),
        ("1: x\n", "keys must be text"),
        ("on: x\n", "keys must be text"),
        ("a: [\n", "expected the node content"),
        ("a: !!python/name:os.system x\n", "the tag tag:yaml.org,2002:python/name:os.system is refused"),
        ("a: \x00\n", "special characters are not allowed"),
    ],
)
def test_yaml_that_would_be_misread_is_refused(tmp_path: Path, addition: str, words: str) -> None:
    """Duplicate keys, keys that are no text, broken YAML and tags: a problem that says where."""
    assert any(words in problem for problem in problems(tmp_path, YAML + addition))


@pytest.mark.parametrize(
    "addition",
    [
        "server: {host: !!int x}\n",
        "server: {limits: {max_n: " + "1" * 5000 + "}}\n",
        "server: {host: " + "[" * 3000 + "]" * 3000 + "}\n",
    ],
)
def test_values_that_yaml_cannot_build_are_refused(tmp_path: Path, addition: str) -> None:
    """A number that is none, one of 5000 digits, bottomless nesting: a problem, not a traceback."""
    assert problems(tmp_path, YAML + addition)


@pytest.mark.parametrize("path", ['"./a\\0b"', "/" + "x" * 300])
def test_paths_that_no_file_system_takes_are_refused(tmp_path: Path, path: str) -> None:
    """A NUL or 300 characters in a file's name: a problem, not a traceback."""
    assert problems(tmp_path, HOSTED.replace("model: org/base", f"model: {path}"))


def test_merge_keys_work(tmp_path: Path) -> None:
    """`<<: *anchor` is how operators share a price or an environment."""
    text = YAML.replace("    price: {", "    price: &p {", 1)
    text = (
        text[: text.rindex("price: {")] + "price: {<<: *p, output_usd_per_mtok: 9.0}\n" + text[text.index("routing:") :]
    )
    config = load(yaml_file(tmp_path, text))
    assert config.experts["bob"].price.usd_per_mtok == (1.0, 9.0)


def test_a_merge_of_merges_works(tmp_path: Path) -> None:
    """What was merged may itself hold merged keys and overrides: nothing counts as written twice."""
    environments = "env: &a {X: '1', Y: '1'}", "env: &b {<<: *a, Y: '2'}", "env: {<<: *b, Y: '3'}"
    engines = "".join(f"  e{i}: {{model: org/m, accelerator: cpu, {e}}}\n" for i, e in enumerate(environments))
    experts = "".join(
        f"  x{i}: {{engine: e{i}, context_tokens: 9, price: {{input_usd_per_mtok: 1, output_usd_per_mtok: 1}}}}\n"
        for i in range(3)
    )
    config = load(yaml_file(tmp_path, YAML.replace("experts:\n", f"engines:\n{engines}experts:\n{experts}")))
    assert [config.engines[f"e{i}"].env for i in range(3)] == [{"X": "1", "Y": y} for y in "123"]


def test_a_file_that_cannot_be_read_is_a_config_error(tmp_path: Path) -> None:
    """Not there, a folder, not UTF-8."""
    (tmp_path / "noise.yaml").write_bytes(b"\xff\xfe\xfa")
    for name in ("nothing.yaml", ".", "noise.yaml"):
        with pytest.raises(ConfigError):
            load(tmp_path / name)


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    """An operator mends a file once, not once per problem."""
    text = YAML.replace("price:", "prise:").replace("version: 1", "version: 1\nzzzzz: 1")
    found = problems(tmp_path, text)
    assert {p.split(":")[0] for p in found} == {
        "zzzzz", "experts.ada.price", "experts.ada.prise", "experts.bob.price", "experts.bob.prise",
    }  # fmt: skip
    references = YAML.replace("general_expert: ada", "general_expert: zoe") + "policies: {fast: {experts: [joe]}}\n"
    assert len(problems(tmp_path, references)) == 3


@pytest.mark.parametrize("experts", ["[]", "[ada, ada]"])
def test_a_policys_experts_are_some_and_each_once(tmp_path: Path, experts: str) -> None:
    """An empty list would mean everybody, and a name written twice would vote twice."""
    assert problems(tmp_path, YAML + f"policies: {{auto: {{experts: {experts}}}}}\n")


def test_an_adapter_must_not_have_its_engines_name(tmp_path: Path) -> None:
    """The engine's name is what its base model is served as: vLLM would answer for it with the adapter."""
    assert problems(tmp_path, HOSTED.replace("  poet: {", "  gpu0: {"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("context_tokens: 1000", "context_tokens: 1001"),
        ("input_usd_per_mtok: 1.0", "input_usd_per_mtok: 1.5"),
        ("http://bob.test/v1", "http://bob2.test/v1"),
        ("model: ada-1", "model: ada-2"),
        ("  bob:", "  rob:"),
        ("general_expert: ada", "general_expert: bob"),
        ("fitted: fitted.npz", "fitted: other.npz"),
        ("routing:\n", "policies: {auto: {description: x}}\nrouting:\n"),
        ("routing:\n", "server: {limits: {max_n: 7}}\nrouting:\n"),
        ("routing:\n", "convening: {breakers: {keep: 2}}\nrouting:\n"),
        ("routing:\n", "routing:\n  skill_floor: 0.36\n"),
    ],
)
def test_the_hash_changes_when_anything_does(tmp_path: Path, old: str, new: str) -> None:
    """Twelve hex digits: the same for the same configuration, others after any change."""
    before, again = load(yaml_file(tmp_path)).hash, load(yaml_file(tmp_path, YAML + "# a comment\n")).hash
    after = load(yaml_file(tmp_path, YAML.replace(old, new, 1))).hash
    assert before == again != after
    assert len(before) == 12
    assert int(before, 16) >= 0


def test_no_key_is_known_that_the_schema_does_not_have() -> None:
    """The configuration refuses unknown keys at every level: each model forbids extras."""
    schema = Config.model_json_schema()
    objects = [d for d in (*schema["$defs"].values(), schema) if "properties" in d]
    assert len(objects) > 10
    assert all(d["additionalProperties"] is False for d in objects)


def test_a_relative_embedder_starts_at_the_file_s_folder_and_must_be_there(tmp_path: Path) -> None:
    """As every path; a hub's name and the packaged ones stay as they are."""
    text = YAML.replace("routing:\n", "routing:\n  embedder: {model: ./mini}\n")
    with pytest.raises(ConfigError, match=r"routing\.embedder\.model: no such file"):
        load(yaml_file(tmp_path, text))
    (tmp_path / "mini").mkdir()
    assert load(yaml_file(tmp_path, text)).routing.embedder.model == str(tmp_path / "mini")
    assert load(yaml_file(tmp_path)).routing.embedder.model == "minilm"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("model: bob-1", "model: bob-1\n    part: keywords", "policies.auto.experts.1: 'bob' is of part 'keywords'"),
        ("model: ada-1", "model: ada-1\n    part: aggregator", "routing.general_expert: 'ada' is of part 'aggregator'"),
        ("routing:\n", "routing:\n  keywords: {expert: bob}\n", "routing.keywords.expert: 'bob' is of part 'answers'"),
        ("routing:\n", "routing:\n  keywords: {expert: bop}\n", "unknown 'bop'; did you mean 'bob'"),
        ("experts: [ada, bob]", "skills: keywords", "'keywords' needs routing.keywords"),
        ("routing:\n", "routing:\n  keywords: {expert: bob, samples: 1}\n", "min_repeats must not exceed samples"),
        ("experts: [ada, bob]", "recruit: lottery", "policies.auto.recruit"),
    ],
)
def test_experts_do_what_their_part_is(tmp_path: Path, old: str, new: str, problem: str) -> None:
    """Only experts that answer are convened, only a keyword expert names skills; the error says where and what."""
    text = YAML + "policies:\n  auto: {experts: [ada, bob]}\n"
    with pytest.raises(ConfigError) as raised:
        load(yaml_file(tmp_path, text.replace(old, new, 1)))
    assert any(problem in line for line in raised.value.problems), raised.value.problems
