"""The ledger's scripts in Redis, each one step that is done as a whole or not at all.

`P` begins the names of all keys; it has a hash tag, so that they lie on one node of a cluster:

    settled:PERIOD, held:PERIOD   hashes, account -> nanodollars; what is not held is not there
    periods                       a set, of all periods that have a meter
    hold:LEG                      a hash; `payer` is JSON: [request, tenant, key, policy, [[account, period, limit]]]
    owned:OWNER, owners           a set of legs; a sorted set, owner -> until when it lives
    void:LEG                      who freed it last, for a while: what was asked for before comes too late
    booked                        a set, of the legs in the journal
    journal, number               a stream, whose ids are numbers; the last one
    first, last                   hashes, day -> number of its first and its last entry
    bucket:ACCOUNT:UNIT           a hash: level, at

Lua computes in doubles and joins large ones to text as 1e+15: sums stay below 2^53, and numbers are joined to text by
`string.format` alone. It writes -0 as such, which is no integer to Redis: amounts are subtracted from 0. A script that
fails is not undone: what may fail comes first.
"""

from __future__ import annotations

from router.redis_calls import Script

VOID_S = 3600  # then nothing that was asked for before can still be on its way

BEGIN = f"""
local P, call = KEYS[1] .. ':', redis.call
local VOID_S = {VOID_S}
"""

_HOLDS = """
local function late(leg, client, number)
    local void = call('GET', P .. 'void:' .. leg)
    if not void then return false end
    local by, at = string.match(void, '^(%S+) (%d+)$')
    return by == client and tonumber(at) > tonumber(number)
end

local function short(meters, amount)
    for _, meter in ipairs(meters) do
        local account, period, limit = meter[1], meter[2], meter[3]
        local settled = call('HGET', P .. 'settled:' .. period, account) or '0'
        local held = call('HGET', P .. 'held:' .. period, account) or '0'
        if limit ~= '' and tonumber(settled) + tonumber(held) + amount > tonumber(limit) then
            return {account, period, limit, settled, held, amount}
        end
    end
    for _, meter in ipairs(meters) do
        call('HINCRBY', P .. 'held:' .. meter[2], meter[1], amount)
        call('SADD', P .. 'periods', meter[2])
    end
    return false
end

-- client, number, owner, payer, then of each hold: leg, expert, hosted, amount, prompt and output tokens
local function reserve(args, last)
    local new, amount = {}, 0
    for i = 5, last, 6 do
        local leg = args[i]
        if call('EXISTS', P .. 'hold:' .. leg) == 0 and call('SISMEMBER', P .. 'booked', leg) == 0
                and not late(leg, args[1], args[2]) then
            new[#new + 1] = i
            amount = amount + tonumber(args[i + 3])
        end
    end
    if #new == 0 then return false end
    local found = short(cjson.decode(args[4])[5], amount)
    if found then return found end
    for _, i in ipairs(new) do
        call('HSET', P .. 'hold:' .. args[i], 'owner', args[3], 'payer', args[4], 'expert', args[i + 1],
            'hosted', args[i + 2], 'amount', args[i + 3], 'prompt', args[i + 4], 'output', args[i + 5])
        call('SADD', P .. 'owned:' .. args[3], args[i])
    end
    call('ZADD', P .. 'owners', 'NX', 0, args[3])
    return false
end
"""

_FREED = """
local function move(meters, held, settled)
    for _, meter in ipairs(meters) do
        local account, period = meter[1], meter[2]
        if call('HINCRBY', P .. 'held:' .. period, account, 0 - held) == 0 then
            call('HDEL', P .. 'held:' .. period, account)
        end
        if settled then call('HINCRBY', P .. 'settled:' .. period, account, settled) end
    end
end

local function free(leg, owner)
    call('DEL', P .. 'hold:' .. leg)
    call('SREM', P .. 'owned:' .. owner, leg)
end
"""

RESERVE = Script(BEGIN + _HOLDS + "return reserve(ARGV, #ARGV)")

# As RESERVE, with one hold.
RENEW = Script(
    BEGIN
    + _HOLDS
    + """
local hold = P .. 'hold:' .. ARGV[5]
local payer = call('HGET', hold, 'payer')
if not payer then return reserve(ARGV, 10) end
local found = short(cjson.decode(payer)[5], tonumber(ARGV[8]))
if found then return found end
call('HINCRBY', hold, 'amount', ARGV[8])
call('HINCRBY', hold, 'output', ARGV[10])
return false
"""
)

# As RESERVE, with one hold, then the leg that leaves its own.
PASS_ON = Script(
    BEGIN
    + _HOLDS
    + _FREED
    + """
local old = ARGV[11]
local hold = P .. 'hold:' .. old
local owner, payer, amount = unpack(call('HMGET', hold, 'owner', 'payer', 'amount'))
if not owner then return reserve(ARGV, 10) end
local meters, fields = cjson.decode(payer)[5], call('HGETALL', hold)
move(meters, tonumber(amount))
free(old, owner)
local found = reserve(ARGV, 10)
if found then -- as it was
    for _, meter in ipairs(meters) do call('HINCRBY', P .. 'held:' .. meter[2], meter[1], amount) end
    call('HSET', hold, unpack(fields))
    call('SADD', P .. 'owned:' .. owner, old)
end
return found
"""
)

# now, day, then of each charge: leg, amount, prompt and output tokens, estimated.
SETTLE = Script(
    BEGIN
    + _FREED
    + """
local function charged(meters, held, amount)
    if amount <= held then return amount end
    local most = amount
    for _, meter in ipairs(meters) do
        if meter[3] ~= '' then
            local settled = tonumber(call('HGET', P .. 'settled:' .. meter[2], meter[1]) or '0')
            local others = tonumber(call('HGET', P .. 'held:' .. meter[2], meter[1]) or '0') - held
            most = math.min(most, tonumber(meter[3]) - settled - others)
        end
    end
    return math.max(held, most)
end

local told = {}
for i = 3, #ARGV, 5 do
    local leg = ARGV[i]
    local hold = call('HMGET', P .. 'hold:' .. leg, 'owner', 'payer', 'expert', 'amount')
    if hold[1] then
        local payer, held, amount = cjson.decode(hold[2]), tonumber(hold[4]), tonumber(ARGV[i + 1])
        local paid = charged(payer[5], held, amount)
        local number = call('INCR', P .. 'number')
        call('XADD', P .. 'journal', string.format('%.0f-0', number), 'at', ARGV[1], 'request', payer[1], 'leg', leg,
            'tenant', payer[2], 'key', payer[3], 'policy', payer[4], 'expert', hold[3], 'prompt', ARGV[i + 2],
            'output', ARGV[i + 3], 'held', held, 'charged', paid, 'overrun', amount - paid, 'estimated', ARGV[i + 4])
        call('SADD', P .. 'booked', leg)
        call('HSETNX', P .. 'first', ARGV[2], number)
        call('HSET', P .. 'last', ARGV[2], number)
        move(payer[5], held, paid)
        free(leg, hold[1])
        told[#told + 1] = {leg, payer[2], held, paid, amount - paid, ARGV[i + 4]}
    end
end
return told
"""
)

# client, number, then legs.
VOID = Script(
    BEGIN
    + _FREED
    + """
for i = 3, #ARGV do
    local leg = ARGV[i]
    local hold = call('HMGET', P .. 'hold:' .. leg, 'owner', 'payer', 'amount')
    if hold[1] then
        move(cjson.decode(hold[2])[5], tonumber(hold[3]))
        free(leg, hold[1])
    end
    call('SET', P .. 'void:' .. leg, ARGV[1] .. ' ' .. ARGV[2], 'EX', VOID_S)
end
"""
)

# Of each meter: account, period.
STANDING = Script(
    BEGIN
    + """
local told = {}
for i = 1, #ARGV, 2 do
    told[#told + 1] = call('HGET', P .. 'settled:' .. ARGV[i + 1], ARGV[i]) or '0'
    told[#told + 1] = call('HGET', P .. 'held:' .. ARGV[i + 1], ARGV[i]) or '0'
end
return told
"""
)

# now, force, the least that may be missing, then of each bucket: account, unit, per minute, units.
TAKE = Script(
    BEGIN
    + """
local now, done = tonumber(ARGV[1]), true
local levels, told = {}, {}
for i = 4, #ARGV, 4 do
    local most = tonumber(ARGV[i + 2])
    local kept = call('HMGET', P .. 'bucket:' .. ARGV[i] .. ':' .. ARGV[i + 1], 'level', 'at')
    local level, at = tonumber(kept[1] or most), tonumber(kept[2] or now)
    level = math.min(most, level + math.max(0, now - at) * most / 60)
    levels[i] = {level, math.max(at, now)}
    if level + tonumber(ARGV[3]) < tonumber(ARGV[i + 3]) then done = false end
end
done = done or ARGV[2] == '1'
for i = 4, #ARGV, 4 do
    local most, level, at = tonumber(ARGV[i + 2]), levels[i][1], levels[i][2]
    if done then
        local bucket = P .. 'bucket:' .. ARGV[i] .. ':' .. ARGV[i + 1]
        level = math.min(most, level - tonumber(ARGV[i + 3]))
        call('HSET', bucket, 'level', level, 'at', at)
        call('EXPIRE', bucket, math.ceil(60 + (most - level) * 60 / most))
    end
    told[#told + 1] = string.format('%.17g', level)
end
return {done and 1 or 0, told}
"""
)
