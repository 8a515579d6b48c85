"""What a short answer means, in one spelling: a choice, a truth, a day, a time, a quantity in its base unit, or words.
Pure.

Which part of a reply is its answer is `router/answers.py`'s.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import date
from decimal import Decimal
from fractions import Fraction

MAX_SHORT_CHARS = 200  # longer texts agree only when they are the same text
MAX_MAGNITUDE = 50  # decimal places that a number is written out to
EDGES = "*_`\"'$ \t\n\r"  # emphasis, code, quotes and math around an answer

_LETTER = re.compile(r"(?i)(?:(?:option|choice|answer)\s+)?[\[(]*([A-Z])[\])]*[.:)]*")
_LATEX = (
    (r"\\(?:text(?:bf|it|rm)?|math(?:rm|bf|it)|mbox|operatorname)\s*\{([^{}]*)\}", r" \1 "),
    (r"\x0crac|\\[dt]frac", r"\\frac"),  # \x0c: what JSON makes of \f
    (r"\\frac\s*\{\s*([-\w.,]+)\s*\}\s*\{\s*([-\w.,]+)\s*\}|\\frac\s*(\d)\s*(\d)", r" \1\3/\2\4"),
    (r"\^\s*\{?\s*\\circ\s*\}?|\\degree|\\circ", "°"),
    (r"\\(?:(?:left|right|displaystyle)(?![a-z])|[,!;:()\[\]\s])", ""),
    (r"\\([$%#&_{}])|\{(,)\}", r"\1\2"),
    (r"(?:US)?\$(?=\s?[-+]?[\d.])|(?<=\d)\$", ""),
    (r"\\(?:times|cdot)(?![a-z])|×", "*"),
    (r"(?<=\d)\s*[*x]\s*10\^\{?([-+]?\d{1,9})\}?", r"e\1"),
    (r"\*\*([^*]+)\*\*", r"\1"),
    (r"\s+", " "),
)
_OPERATOR = re.compile(r" ?([-+*/^=<>|]) ?")
_TERM = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+"
_QUANTITY = re.compile(
    rf"(?:[a-z]{{1,2}}=)?(?:[€£¥₹] ?)?(?P<sign>[-+]?)(?:[€£¥₹] ?)?(?:(?P<whole>\d+) (?=\d+/\d))?"
    rf"(?P<over>(?:{_TERM})(?:e[-+]?\d{{1,9}})?)(?:/(?P<under>{_TERM}))? ?(?P<unit>\D*)"
)
_KINDS = {  # base unit: what others are worth in it; percentages and money are plain numbers
    "": "1 dollar usd euro eur € £ ¥ ₹, 1/100 % percent",
    "m": "1/1000 mm millimeter millimetre, 0.01 cm centimeter centimetre, 1 m meter metre, 1000 km kilometre kilometer",
    "g": "1/1000 mg milligram, 1 g gram gramme, 1000 kg kilogram, 1000000 t tonne metricton",
    "s": "1/1000 ms millisecond, 1 s sec second, 60 min minute, 3600 h hr hour, 86400 d day, 604800 week",
    "l": "1/1000 ml milliliter millilitre, 1/100 cl centiliter centilitre, 1 l liter litre",
    "°C": "1 °c celsius degreecelsius degreescelsius",
    "°": "1 ° degree",
}
_UNITS = {"": (Fraction(1), "")} | {
    name: (Fraction(worth), base)
    for base, scales in _KINDS.items()
    for worth, *names in map(str.split, scales.split(","))
    for name in names
}
_TRUTH = {"true": "true", "yes": "true", "false": "false", "no": "false"}
_MONTHS = "january february march april may june july august september october november december".split()
_DAY, _MONTH = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?", r"(?P<month>[a-z]{3,9})\.?"
_DATES = (  # 03/05/2024 is May here and March there: it stays text
    re.compile(rf"(?:[a-z]+day,? )?{_DAY}(?: of)? {_MONTH},? (?P<year>\d{{4}})"),
    re.compile(rf"(?:[a-z]+day,? )?{_MONTH} {_DAY},? (?P<year>\d{{4}})"),
    re.compile(r"(?P<year>\d{4})(?P<sep>[-/])(?P<month>\d{1,2})(?P=sep)(?P<day>\d{1,2})"),
)
_TIME = re.compile(r"(0?[1-9]|1[0-2])(?::([0-5]\d))? ?([ap])\.? ?m\.?|([01]?\d|2[0-3]):([0-5]\d)")


def tidy(text: str) -> str:
    """An answer in plain characters, without LaTeX, emphasis and what surrounds it."""
    core = _plain(text).strip(EDGES)
    for pattern, plain in _LATEX:
        core = re.sub(pattern, plain, core)
    for opening, closing in ("()", "{}"):
        if core.count(closing) > core.count(opening):  # "(answer: 42)"
            core = core.rstrip("." + EDGES).removesuffix(closing)
    return core.strip(EDGES).rstrip(".!;,").strip(EDGES)


def _plain(text: str) -> str:
    """Compatibility characters in their plain form (full-width digits, ligatures); 10² must not become 102."""
    if text.isascii():
        return text
    kept = ("<super>", "<sub>", "<fraction>")
    plain = (c if unicodedata.decomposition(c).startswith(kept) else unicodedata.normalize("NFKC", c) for c in text)
    return unicodedata.normalize("NFC", "".join(plain)).replace("\N{MINUS SIGN}", "-")


def value_of(core: str) -> str | None:
    """The one spelling of a tidy answer that is a choice, a truth, a day, a time or a quantity; None for words."""
    if len(core) > MAX_SHORT_CHARS:
        return None
    if letter := _LETTER.fullmatch(core):
        return letter[1].upper()
    low = _OPERATOR.sub(r"\1", core.casefold())
    return _TRUTH.get(low) or _day(low) or _time(low) or _quantity(low)


def _day(low: str) -> str | None:
    """A date as ISO writes it."""
    for match in filter(None, (pattern.fullmatch(low) for pattern in _DATES)):
        named = [n for n, month in enumerate(_MONTHS, 1) if month.startswith(match["month"])]
        try:
            return date(int(match["year"]), named[0] if named else int(match["month"]), int(match["day"])).isoformat()
        except ValueError:  # there is no such month or day
            return None
    return None


def _time(low: str) -> str | None:
    """A time of day as HH:MM."""
    match = _TIME.fullmatch(low)
    if match is None or not match[3]:
        return match and f"{match[4]:0>2}:{match[5]}"
    return f"{int(match[1]) % 12 + 12 * (match[3] == 'p'):02}:{match[2] or '00'}"


def _quantity(low: str) -> str | None:
    """A number, or a measure in the unit of its kind; None also for what is too long to be written out."""
    match = _QUANTITY.fullmatch(low)
    if match is None:
        return None
    name = match["unit"].replace(" ", "")
    unit = _UNITS.get(name) or _UNITS.get(name.removesuffix("s"))
    over, under = (Decimal((match[part] or "1").replace(",", "")) for part in ("over", "under"))
    if unit is None or not under or not -MAX_MAGNITUDE < over.adjusted() < MAX_MAGNITUDE:
        return None
    value = (int(match["whole"] or 0) + Fraction(over) / Fraction(under)) * unit[0]
    return f"{_spelled(-value if match['sign'] == '-' else value)} {unit[1]}".rstrip()


def _spelled(value: Fraction) -> str:
    """The digits of a number; a fraction where they never end (1/3)."""
    scaled = value * 10**MAX_SHORT_CHARS
    written = f"{Decimal(f'{scaled.numerator}e-{MAX_SHORT_CHARS}'):f}".rstrip("0").rstrip(".")
    return written if scaled.denominator == 1 else str(value)


def words(core: str) -> str:
    """A short text without case, leading articles and blanks that mean nothing."""
    low = _OPERATOR.sub(r"\1", core.casefold())
    low = re.sub(r"^(?:(?:an?|the) (?!and |or ))+(?=[^\W_]{2})", "", low).strip(EDGES)  # "A and B" has no article
    return re.sub(r" ?([][(){},:]) ?", r"\1", low) if low[:1] in ("[", "(", "{") else low  # a list, a tuple, a set
