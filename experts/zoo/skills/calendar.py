"""Category `time`: weekdays, months and the clock."""

from random import Random

from experts.zoo.records import Payload, Skill

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = tuple("January February March April May June July August September October November December".split())


def draw_weekday(rng: Random) -> Payload:
    """A weekday and 2 to 12 days; the answer is the weekday that many days later."""
    today, days = rng.randrange(7), rng.randint(2, 12)
    return Payload({"day": WEEKDAYS[today], "n": str(days)}, WEEKDAYS[(today + days) % 7])


def draw_month(rng: Random) -> Payload:
    """A month and 2 to 11 months; the answer is the month that many months later."""
    month, later = rng.randrange(12), rng.randint(2, 11)
    return Payload({"month": MONTHS[month], "n": str(later)}, MONTHS[(month + later) % 12])


def clock(minutes: int) -> str:
    """Minutes since midnight as hours and minutes of a 24-hour clock."""
    return f"{minutes // 60:02}:{minutes % 60:02}"


def draw_clock(rng: Random) -> Payload:
    """A time of day and 5 to 55 minutes, both in steps of five; the answer is the time then, on the same day."""
    later = rng.randrange(5, 60, 5)
    now = rng.randrange(0, 24 * 60 - later, 5)
    return Payload({"time": clock(now), "n": str(later)}, clock(now + later))


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
    Skill(
        name="clock_after",
        category="time",
        description="Tell the time on a 24-hour clock a number of minutes later.",
        wordings=(
            "It is {time}. What time is it in {n} minutes?",
            "It is {time} now. What time will it be {n} minutes from now?",
            "What time is it {n} minutes after {time}?",
            "Which time is {n} minutes later than {time}?",
            "If it is {time} now, what time is it {n} minutes later?",
            "Add {n} minutes to {time}. What time is it then?",
            "The clock shows {time}. What does it show in {n} minutes?",
            "My train leaves at {time} and takes {n} minutes. When does it arrive?",
            "The lesson starts at {time} and takes {n} minutes. At what time does it end?",
            "I start to cook at {time} and need {n} minutes. When am I done?",
            "The bus should come at {time} but is {n} minutes late. When does it come?",
            "Tell me the time {n} minutes after {time}.",
        ),
        held_out_wordings=(
            "The clock shows {time}. What time will it be in {n} minutes?",
            "My lesson starts at {time} and takes {n} minutes. When does it end?",
            "Tell me what time it is {n} minutes later than {time}.",
        ),
        draw=draw_clock,
    ),
)
