"""What a ledger says, computed in the plainest way: a dictionary of holds, a list of entries. Pure; nothing is fast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from router.ledger import Charge, Hold, Meter, Payer, Settled, Short


@dataclass(frozen=True, slots=True)
class Booked:
    """One entry of the journal, with the meters it counts on."""

    settled: Settled
    meters: tuple[Meter, ...]


@dataclass(slots=True)
class Model:
    """One ledger. `lives`: owner -> until when."""

    holds: dict[str, tuple[Payer, Hold]] = field(default_factory=dict)
    journal: list[Booked] = field(default_factory=list)
    lives: dict[str, float] = field(default_factory=dict)

    def reserve(self, payer: Payer, holds: Sequence[Hold]) -> Short | None:
        booked = {entry.settled.leg_id for entry in self.journal}
        new = [hold for hold in holds if hold.leg_id not in self.holds and hold.leg_id not in booked]
        short = self._short(payer.meters, sum(hold.amount for hold in new)) if new else None
        if short is None:
            self.holds |= {hold.leg_id: (payer, hold) for hold in new}
        return short

    def renew(self, payer: Payer, hold: Hold) -> Short | None:
        if hold.leg_id not in self.holds:
            return self.reserve(payer, [hold])
        whose, kept = self.holds[hold.leg_id]
        short = self._short(whose.meters, hold.amount)
        if short is None:
            output = kept.output_tokens + hold.output_tokens
            self.holds[hold.leg_id] = whose, replace(kept, amount=kept.amount + hold.amount, output_tokens=output)
        return short

    def pass_on(self, leg_id: str, payer: Payer, hold: Hold) -> Short | None:
        left = self.holds.pop(leg_id, None)
        short = self.reserve(payer, [hold])
        if short is not None and left is not None:
            self.holds[leg_id] = left
        return short

    def settle(self, charges: Sequence[Charge]) -> tuple[Settled, ...]:
        return tuple(found for charge in charges if (found := self._settle(charge)) is not None)

    def void(self, leg_ids: Sequence[str]) -> None:
        for leg_id in leg_ids:
            self.holds.pop(leg_id, None)

    def orphans(self, now: float) -> dict[str, Hold]:
        return {leg: hold for leg, (payer, hold) in self.holds.items() if self.lives.get(payer.owner, 0) <= now}

    def stands(self, meter: Meter) -> tuple[int, int]:
        """(settled, held): sums over all entries, and over all holds."""
        settled = sum(entry.settled.charged for entry in self.journal if _counts(meter, entry.meters))
        return settled, sum(hold.amount for payer, hold in self.holds.values() if _counts(meter, payer.meters))

    def _settle(self, charge: Charge) -> Settled | None:
        if charge.leg_id not in self.holds:
            return None
        payer, hold = self.holds.pop(charge.leg_id)
        rooms = [m.limit - sum(self.stands(m)) for m in payer.meters if m.limit is not None]
        charged = min(charge.amount, max(hold.amount, min(rooms, default=charge.amount)))
        settled = Settled(
            hold.leg_id, payer.tenant, hold.amount, charged, charge.amount - charged, estimated=charge.estimated
        )
        self.journal.append(Booked(settled, payer.meters))
        return settled

    def _short(self, meters: Sequence[Meter], amount: int) -> Short | None:
        for meter in meters:
            settled, held = self.stands(meter)
            if meter.limit is not None and settled + held + amount > meter.limit:
                return Short(meter, settled, held, amount)
        return None


def _counts(meter: Meter, meters: Sequence[Meter]) -> bool:
    return (meter.account, meter.period) in {(each.account, each.period) for each in meters}
