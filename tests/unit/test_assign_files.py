"""Files of `symposium assign`: what is read is what was meant, what is drawn is where it is said to be."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.assign import _sizes
from deploy.cli import app
from router.profiles import Count, Profile, Profiles
from tests.unit.make import yaml_file


def test_a_decimal_comma_is_no_number(tmp_path: Path) -> None:
    """4,5 would otherwise be 4; columns beyond the two that are needed do no harm."""
    file = tmp_path / "sizes.csv"
    file.write_text("expert,parameters_b\nada,80\nbob,4,5\n")
    with pytest.raises(ValueError, match="line 3: not expert,parameters_b"):
        _sizes(file, ("ada", "bob"))
    file.write_text("expert,parameters_b,note\nada,80,large\nbob,4.5\n")
    assert _sizes(file, ("ada", "bob")) == {"ada": 80.0, "bob": 4.5}


def test_a_picture_is_where_it_is_said_to_be(tmp_path: Path) -> None:
    """A name without an ending gets one, and is named with it."""
    count = Count(right=5, asked=10)
    profile = Profile(
        expert_version="1", engine_version="1", questions="q", overall=count, categories={"math": count},
        output_tokens=10,
    )  # fmt: skip
    Profiles(experts={"ada": profile, "bob": profile}).save(tmp_path / "profiles.json")
    (tmp_path / "sizes.csv").write_text("expert,parameters_b\nada,80\nbob,4.5\n")
    config, sizes, picture = yaml_file(tmp_path), tmp_path / "sizes.csv", tmp_path / "front"
    done = CliRunner().invoke(app, ["assign", str(config), "--sizes", str(sizes), "--plot", str(picture)])
    assert done.exit_code == 0, done.output
    assert f"drawn to {picture}.png\n" in done.stdout
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
