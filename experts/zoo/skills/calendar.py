"""Category `time`: weekdays, months, hours and minutes."""

from random import Random

from experts.zoo.records import Payload, Skill

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = tuple("January February March April May June July August September October November December".split())


def draw_weekday(rng: Random) -> Payload:
    """A weekday and 2 to 12 days; the answer is the weekday that many days later."""
    today, days = rng.randrange(7), rng.randint(2, 12)
    return Payload({"day": WEEKDAYS[today], "n": str(days)}, WEEKDAYS[(today + days) % 7])


def draw_minutes(rng: Random) -> Payload:
    """Two to nine hours and 2 to 59 minutes; the answer is all of it in minutes."""
    hours, minutes = rng.randint(2, 9), rng.randint(2, 59)
    return Payload({"h": str(hours), "m": str(minutes)}, str(60 * hours + minutes))


def draw_month(rng: Random) -> Payload:
    """A month and 2 to 11 months; the answer is the month that many months later."""
    month, later = rng.randrange(12), rng.randint(2, 11)
    return Payload({"month": MONTHS[month], "n": str(later)}, MONTHS[(month + later) % 12])


SKILLS = (
    Skill(
        name="weekday_after",
        category="time",
        description="Name the weekday a number of days after a weekday.",
        wordings=(
            "What day is it {n} days after {day}?",
            "Which day comes {n} days after {day}?",
            "Today is {day}. What day is it in {n} days?",
            "If today is {day}, what day is it in {n} days?",
            "If it is {day} now, which day is it {n} days later?",
            "It is {day}. Which day of the week will it be {n} days from now?",
            "Which weekday is {n} days after {day}?",
            "Name the weekday {n} days after {day}.",
            "Count {n} days from {day}. Which weekday is it?",
            "What weekday will it be {n} days after {day}?",
            "My trip begins on {day} and takes {n} days. On which weekday does it end?",
            "Start on {day} and wait {n} days. What day is it then?",
        ),
        held_out_wordings=(
            "Today is {day}. Which weekday will it be {n} days from now?",
            "If today is {day}, which day of the week comes {n} days later?",
            "Tell me what day it is {n} days after {day}.",
        ),
        draw=draw_weekday,
        lexicon=WEEKDAYS,
        memorised=True,
    ),
    Skill(
        name="to_minutes",
        category="time",
        description="Turn hours and minutes into minutes.",
        wordings=(
            "How many minutes are {h} hours and {m} minutes?",
            "How many minutes are in {h} hours and {m} minutes?",
            "Turn {h} hours and {m} minutes into minutes.",
            "What is {h} hours and {m} minutes in minutes?",
            "Write {h} hours and {m} minutes in minutes.",
            "How long is {h} hours {m} minutes in minutes?",
            "My trip takes {h} hours and {m} minutes. How many minutes is that?",
            "The film takes {h} hours and {m} minutes. How long is it in minutes?",
            "I wait for {h} hours and {m} minutes. How many minutes do I wait?",
            "Give me {h} hours and {m} minutes as a number of minutes.",
            "Compute the minutes in {h} hours and {m} minutes.",
            "Tell me how many minutes {h} hours and {m} minutes are.",
        ),
        held_out_wordings=(
            "Compute how many minutes are in {h} hours and {m} minutes.",
            "My film takes {h} hours and {m} minutes. How long is that in minutes?",
            "Tell me what {h} hours {m} minutes is in minutes.",
        ),
        draw=draw_minutes,
    ),
    Skill(
        name="month_after",
        category="time",
        description="Name the month a number of months after a month.",
        wordings=(
            "Which month comes {n} months after {month}?",
            "What month is it {n} months after {month}?",
            "It is {month}. Which month is it in {n} months?",
            "If it is {month} now, what month is it in {n} months?",
            "If this month is {month}, which month is it {n} months later?",
            "Name the month {n} months after {month}.",
            "Count {n} months from {month}. Which month is it?",
            "What month will it be {n} months after {month}?",
            "Start in {month} and wait {n} months. What month is it then?",
            "My work begins in {month} and takes {n} months. In which month does it end?",
            "Which month of the year is {n} months after {month}?",
            "This month is {month}. What month will it be {n} months from now?",
        ),
        held_out_wordings=(
            "It is {month}. What month of the year will it be {n} months from now?",
            "If this month is {month}, what month comes {n} months later?",
            "Tell me which month is {n} months after {month}.",
        ),
        draw=draw_month,
        lexicon=MONTHS,
        memorised=True,
    ),
)
