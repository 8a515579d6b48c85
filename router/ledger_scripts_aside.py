"""The ledger's scripts in Redis that no request waits for: who lives, the journal, what is forgotten. Keys as there."""

from __future__ import annotations

from router.ledger_scripts import BEGIN
from router.redis_calls import Script

# owner, until, when those ended who are forgotten.
BEAT = Script(
    BEGIN
    + """
call('ZADD', P .. 'owners', ARGV[2], ARGV[1])
for _, owner in ipairs(call('ZRANGEBYSCORE', P .. 'owners', '-inf', ARGV[3], 'LIMIT', 0, 100)) do
    if call('EXISTS', P .. 'owned:' .. owner) == 0 then call('ZREM', P .. 'owners', owner) end
end
"""
)

# owner.
LEAVE = Script(
    BEGIN
    + """
if call('EXISTS', P .. 'owned:' .. ARGV[1]) == 1 then call('ZADD', P .. 'owners', 0, ARGV[1])
else call('ZREM', P .. 'owners', ARGV[1]) end
"""
)

# now, at most so many.
ORPHANS = Script(
    BEGIN
    + """
local told, most = {}, tonumber(ARGV[2])
for _, owner in ipairs(call('ZRANGEBYSCORE', P .. 'owners', '-inf', ARGV[1])) do
    for _, leg in ipairs(call('SRANDMEMBER', P .. 'owned:' .. owner, most - #told)) do
        local hold = P .. 'hold:' .. leg
        hold = call('HMGET', hold, 'owner', 'payer', 'expert', 'hosted', 'amount', 'prompt', 'output')
        told[#told + 1] = {leg, unpack(hold)}
    end
    if #told >= most then break end
end
return told
"""
)

# The first and the last number of the days from one to another.
BOUNDS = Script(
    BEGIN
    + """
local least, most = false, false
local function between(hash, told)
    local days = call('HGETALL', P .. hash)
    for i = 1, #days, 2 do
        if tonumber(days[i]) >= tonumber(ARGV[1]) and tonumber(days[i]) <= tonumber(ARGV[2]) then
            told(tonumber(days[i + 1]))
        end
    end
end
between('first', function(number) least = math.min(least or number, number) end)
between('last', function(number) most = math.max(most or number, number) end)
return {least, most}
"""
)

# The number of the first entry, of the last one, and how many at most. Each is one JSON array: its id and its values.
PAGE = Script(
    BEGIN
    + """
local told = {}
for _, entry in ipairs(call('XRANGE', P .. 'journal', ARGV[1] .. '-0', ARGV[2] .. '-0', 'COUNT', ARGV[3])) do
    local values = {entry[1]}
    for i = 2, #entry[2], 2 do values[#values + 1] = entry[2][i] end
    told[#told + 1] = cjson.encode(values)
end
return told
"""
)

# before, its day as periods are written, how many entries at most.
PRUNE = Script(
    BEGIN
    + """
local gone, legs = {}, {}
for _, entry in ipairs(call('XRANGE', P .. 'journal', '-', '+', 'COUNT', ARGV[3])) do
    local kept = {}
    for i = 1, #entry[2], 2 do kept[entry[2][i]] = entry[2][i + 1] end
    if tonumber(kept['at']) < tonumber(ARGV[1]) then
        gone[#gone + 1], legs[#legs + 1] = entry[1], kept['leg']
    end
end
if #gone > 0 then
    call('XDEL', P .. 'journal', unpack(gone))
    call('SREM', P .. 'booked', unpack(legs))
end
local head = call('XRANGE', P .. 'journal', '-', '+', 'COUNT', 1)[1]
local least = head and tonumber(string.match(head[1], '^%d+')) or math.huge
local days = call('HGETALL', P .. 'last')
for i = 1, #days, 2 do
    if tonumber(days[i + 1]) < least then
        call('HDEL', P .. 'first', days[i])
        call('HDEL', P .. 'last', days[i])
    end
end
for _, period in ipairs(call('SMEMBERS', P .. 'periods')) do
    if period < string.sub(ARGV[2], 1, #period) and call('EXISTS', P .. 'held:' .. period) == 0 then
        call('UNLINK', P .. 'settled:' .. period)
        call('SREM', P .. 'periods', period)
    end
end
return #gone
"""
)
