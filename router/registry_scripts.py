"""What the registry does in Redis in one step each, in Redis' own language (Lua 5.1). Text only.

KEYS[1] is what all names begin with; its hash tag keeps them on one node of a cluster. What is bounded, `what`, has

    <what>:total          how much there is
    <what>:shares         a sorted set: who has some of it, by how much
    <what>:of:<who>       a sorted set: theirs, by age
    <what>:all            a sorted set: everybody's, by age; `who`, a zero byte, and what it is

A claim is a hash of its own, `claim:<member of claims:all>`; a request that was asked is a field of `asked:row`, and of
`asked:done` once it was judged; feedback is a sorted set of rows by their numbers.
"""

from __future__ import annotations

_COMMON = """
local P = KEYS[1]
local call = redis.call
local function key(name) return P .. ':' .. name end
local function member(who, id) return who .. '\\0' .. id end

local function share(what, who, change)
    call('INCRBY', key(what .. ':total'), change)
    local has = tonumber(call('ZINCRBY', key(what .. ':shares'), change, who))
    if has <= 0 then call('ZREM', key(what .. ':shares'), who) end
end

local function total(what) return tonumber(call('GET', key(what .. ':total')) or '0') end

local function oldest(what)  -- of who has most
    local who = call('ZREVRANGE', key(what .. ':shares'), 0, 0)[1]
    return who, call('ZRANGE', key(what .. ':of:' .. who), 0, 0)[1]
end

local function forget_claim(who, id)
    local at = key('claim:' .. member(who, id))
    local size = tonumber(call('HGET', at, 'size') or '0')
    call('DEL', at)
    call('ZREM', key('claims:all'), member(who, id))
    call('ZREM', key('claims:of:' .. who), id)
    if size > 0 then share('claims', who, -size) end
end

local function forget_asked(who, id)
    call('HDEL', key('asked:row'), id)
    call('SREM', key('asked:done'), id)
    call('ZREM', key('asked:all'), member(who, id))
    call('ZREM', key('asked:of:' .. who), id)
    share('asked', who, -1)
end

local function last() return tonumber(call('GET', key('feedback:last')) or '0') end

-- A claim that is still this owner's, and was not answered.
local function mine(at, owner)
    local found = call('HMGET', at, 'owner', 'done')
    return found[1] == owner and not found[2]
end
"""

# id, row, most
PUT_KEY = """
local at = key('keys')
if call('HEXISTS', at, ARGV[1]) == 0 and call('HLEN', at) >= tonumber(ARGV[3]) then return call('HLEN', at) end
call('HSET', at, ARGV[1], ARGV[2])
return -1
"""

KEYS = """
return call('HVALS', key('keys'))
"""

# id, row: as it was when it was found to have ended
FORGET_KEY = """
if call('HGET', key('keys'), ARGV[1]) == ARGV[2] then call('HDEL', key('keys'), ARGV[1]) end
"""

# scope, key, fingerprint, owner, now, until
CLAIM = """
local id = member(ARGV[1], ARGV[2])
local at = key('claim:' .. id)
local found = call('HMGET', at, 'fingerprint', 'owner', 'until', 'done')
if found[1] and tonumber(found[3]) > tonumber(ARGV[5]) then
    if found[1] ~= ARGV[3] then return {'other'} end
    if found[4] then return {'done', unpack(call('HMGET', at, 'status', 'headers', 'body'))} end
    return {found[2] == ARGV[4] and 'mine' or 'running'}
end
forget_claim(ARGV[1], ARGV[2])
call('HSET', at, 'fingerprint', ARGV[3], 'owner', ARGV[4], 'until', ARGV[6])
call('ZADD', key('claims:all'), ARGV[6], id)
return {'mine'}
"""

# scope, key, owner, until
KEEP_CLAIM = """
local id = member(ARGV[1], ARGV[2])
local at = key('claim:' .. id)
if not mine(at, ARGV[3]) then return end
call('HSET', at, 'until', ARGV[4])
call('ZADD', key('claims:all'), ARGV[4], id)
"""

# scope, key, owner, until, size, most; and status, headers, body where it is kept
ANSWER = """
local id = member(ARGV[1], ARGV[2])
local at = key('claim:' .. id)
if not mine(at, ARGV[3]) then return end
call('HSET', at, 'until', ARGV[4], 'done', 1, 'size', ARGV[5])
if ARGV[7] then call('HSET', at, 'status', ARGV[7], 'headers', ARGV[8], 'body', ARGV[9]) end
call('ZADD', key('claims:all'), ARGV[4], id)
call('ZADD', key('claims:of:' .. ARGV[1]), ARGV[4], ARGV[2])
share('claims', ARGV[1], ARGV[5])
while total('claims') > tonumber(ARGV[6]) do forget_claim(oldest('claims')) end
"""

# scope, key, owner
DROP_CLAIM = """
if mine(key('claim:' .. member(ARGV[1], ARGV[2])), ARGV[3]) then forget_claim(ARGV[1], ARGV[2]) end
"""

# most, then of each: request id, source, at, row
ASKED = """
for i = 2, #ARGV, 4 do
    local id, who, at = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    if call('HSETNX', key('asked:row'), id, who .. '\\0' .. ARGV[i + 3]) == 1 then
        call('ZADD', key('asked:all'), at, member(who, id))
        call('ZADD', key('asked:of:' .. who), at, id)
        share('asked', who, 1)
    end
end
while total('asked') > tonumber(ARGV[1]) do forget_asked(oldest('asked')) end
"""

# request id, source, right, now, most
JUDGE = """
local found = call('HGET', key('asked:row'), ARGV[1])
if not found or string.sub(found, 1, #ARGV[2] + 1) ~= ARGV[2] .. '\\0' then return {'unknown'} end
if call('SADD', key('asked:done'), ARGV[1]) == 0 then return {'done'} end
local row = string.sub(found, #ARGV[2] + 2)
local number = call('INCR', key('feedback:last'))
call('ZADD', key('feedback'), number, number .. '\\0' .. ARGV[3] .. '\\0' .. ARGV[4] .. '\\0' .. row)
call('ZADD', key('feedback:of:' .. ARGV[2]), number, number)
share('feedback', ARGV[2], 1)
local most = tonumber(ARGV[5])
if total('feedback') > most then
    while total('feedback') > most - math.floor(most / 10) do
        local who, gone = oldest('feedback')
        call('ZREMRANGEBYSCORE', key('feedback'), gone, gone)
        call('ZREM', key('feedback:of:' .. who), gone)
        share('feedback', who, -1)
    end
    call('INCR', key('feedback:epoch'))
end
return {number, row}
"""

# after, most
JUDGED = """
return {
    call('ZRANGE', key('feedback'), '(' .. ARGV[1], '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[2]),
    call('LRANGE', key('feedback:restores'), 0, -1),
}
"""

STATE = """
return {last(), call('GET', key('feedback:frozen')), tonumber(call('GET', key('feedback:epoch')) or '0')}
"""

# 1 or 0
FREEZE = """
if ARGV[1] == '0' then
    call('DEL', key('feedback:frozen'))
else
    call('SET', key('feedback:frozen'), last(), 'NX')
end
"""

# number
RESTORE = """
if tonumber(ARGV[1]) > last() then return 0 end
call('RPUSH', key('feedback:restores'), ARGV[1] .. ' ' .. last())
call('SET', key('feedback:frozen'), last(), 'XX')
call('INCR', key('feedback:epoch'))
return 1
"""

# claims, asked, most
PRUNE = """
local function each(what, before, forget)
    local found = call('ZRANGE', key(what .. ':all'), '-inf', '(' .. before, 'BYSCORE', 'LIMIT', 0, ARGV[3])
    for _, at in ipairs(found) do
        local cut = string.find(at, '%z')
        forget(string.sub(at, 1, cut - 1), string.sub(at, cut + 1))
    end
    return #found
end
return math.max(each('claims', ARGV[1], forget_claim), each('asked', ARGV[2], forget_asked))
"""


def whole(script: str) -> str:
    """As it is run."""
    return _COMMON + script
