"""`${NAME}` and `${NAME:-default}` in a text, replaced from the environment. Pure: the environment is an argument."""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping

REFERENCE = re.compile(r"\$(\$\{)|\$\{([^}]*)(\}?)")  # "$${" stands for "${"
FORM = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-((?!.*\$\{).*))?", re.DOTALL)  # no reference inside a default
MIN_HIDDEN = 3  # characters; a shorter value keeps no secret, and hiding it everywhere would garble every message


class Unfit(ValueError):
    """A reference that cannot be replaced; the message says why, and shows no value."""


def expand(text: str, environ: Mapping[str, str], used: MutableMapping[str, str]) -> str:
    """The text with its references replaced. As in a shell, a default also stands for a variable that is empty.

    Args:
        used: gets the variables that were taken, with their values.

    Raises:
        Unfit: a variable is not set and has no default, or the reference is none.
    """

    def value(match: re.Match[str]) -> str:
        if match[1]:
            return match[1]
        form = FORM.fullmatch(match[2])
        if form is None or not match[3]:
            raise Unfit(
                f"'{match[0]}' is no reference; write ${{NAME}} or ${{NAME:-default}}, or $${{ for the characters"
            )
        name, default = form.groups()
        found = environ.get(name)
        if found is None and default is None:
            raise Unfit(f"the environment variable {name} is not set; set it, or write ${{{name}:-default}}")
        if found or default is None:
            used[name] = found or ""
            return found or ""
        return str(default)

    return REFERENCE.sub(value, text)


def hidden(message: str, used: Mapping[str, str]) -> str:
    """A message with the values of these variables written as their names."""
    for name, value in sorted(used.items(), key=lambda item: -len(item[1])):
        for form in {value, repr(value)[1:-1], value.strip()}:
            if len(form) >= MIN_HIDDEN:
                message = message.replace(form, f"${{{name}}}")
            elif form:
                message = message.replace(f"'{form}'", f"'${{{name}}}'")
    return message
