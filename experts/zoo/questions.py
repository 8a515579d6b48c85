"""Writes the zoo's labelled questions as JSON lines, for `symposium fit` and `symposium profile`.

    python -m experts.zoo.questions --out configs/quickstart/questions.jsonl [--per-skill 60] [--seed 7] [--held-out]

Their numbers and words are ones that no training has seen (closed tables excepted): experts measured on questions
they were trained on would look better than they are.

Owns: the file's shape (question, answer, category, skill, group). Must not know: the router that reads it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from experts.zoo.tasks import SKILLS, generate


def lines(per_skill: int, seed: int, held_out: bool) -> Iterator[str]:
    """One JSON object per question; questions of one wording share their `group`, and none is written twice."""
    for skill in SKILLS:
        for q in dict.fromkeys(generate(skill, per_skill, seed, held_out, fresh=True)):
            row = {"question": q.text, "answer": q.answer, "category": q.category, "skill": q.skill}
            yield json.dumps(row | {"group": f"{q.skill}/{q.template}"}, ensure_ascii=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--per-skill", type=int, default=60)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--held-out", action="store_true", help="wordings that no training has seen")
    options = parser.parse_args()
    text = "\n".join(lines(options.per_skill, options.seed, options.held_out))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
