"""What Redis runs to count: each script is one atomic step, by Redis's own clock.

The policy is that of :mod:`~inferloom_gateway.access.limits.window`, with slots of a quarter of a second: a
slot that is held back longer than needed is 0.42 % of a minute, and a bucket has at most 241 of them to
forget at once.

The gateways are a sorted set of names by the moment until which each is taken for alive; what those run that
are not counts no more. A window is a hash with its last slot (``head``), the slot of its last use, the sums
``r`` and ``t``, and the same of each slot. What a bucket runs is a hash with a number for each gateway, and
when that was so, by a count of the gateway's own: scripts may run in another order than they were sent in,
and long after whoever sent them has given them up.
"""

SLOT_MS = 250
SLOTS = 241

ALIVE_S = 10
"""How long a gateway that says nothing is taken for alive."""

_SHARED = f"""
local SLOT_MS, SLOTS, ALIVE_MS = {SLOT_MS}, {SLOTS}, {ALIVE_S * 1000}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local slot = math.floor(now / SLOT_MS)

local function advance(key)
  local seen = redis.call('HMGET', key, 'head', 'r', 't', 'last')
  local head, r, t = tonumber(seen[1]), tonumber(seen[2]) or 0, tonumber(seen[3]) or 0
  if head == nil then return {{slot, 0, 0, slot}} end
  if slot > head then
    if slot - head >= SLOTS then
      redis.call('DEL', key)
      return {{slot, 0, 0, slot}}
    end
    local names = {{}}
    for past = head - SLOTS + 1, slot - SLOTS do
      names[#names + 1] = 'r' .. past
      names[#names + 1] = 't' .. past
    end
    local gone = redis.call('HMGET', key, unpack(names))
    for i = 1, #gone, 2 do
      r = r - (tonumber(gone[i]) or 0)
      t = t - (tonumber(gone[i + 1]) or 0)
    end
    redis.call('HDEL', key, unpack(names))
    head = slot
    redis.call('HSET', key, 'head', head, 'r', r, 't', t)
  end
  return {{head, r, t, tonumber(seen[4]) or head}}
end
"""

_TELL = """
local function tell(key, me, running, at)
  local told = redis.call('HGET', key, me)
  if tonumber(at) > (told and tonumber(string.match(told, ' (%d+)$')) or 0) then
    redis.call('HSET', key, me, running .. ' ' .. at)
    redis.call('PEXPIRE', key, 172800000)
  end
end
"""

TAKE = (
    _SHARED
    + _TELL
    + """
local me, enters, tokens = ARGV[1], ARGV[2] == '1', tonumber(ARGV[3])
local count = (#KEYS - 1) / 2
redis.call('ZADD', KEYS[1], now + ALIVE_MS, me)

local function wait(key, head, kind, wanted)
  local names = {}
  for past = head - SLOTS + 1, head do names[#names + 1] = kind .. past end
  local held = redis.call('HMGET', key, unpack(names))
  for i = 1, #held do
    wanted = wanted - (tonumber(held[i]) or 0)
    if wanted <= 0 then return (head - SLOTS + i + SLOTS) * SLOT_MS - now end
  end
  return 60000
end

local function others(key)
  local sum, all = 0, redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    if all[i] ~= me then
      local alive = tonumber(redis.call('ZSCORE', KEYS[1], all[i]))
      if alive and alive >= now then
        sum = sum + tonumber(string.match(all[i + 1], '^%d+'))
      else
        redis.call('HDEL', key, all[i])
      end
    end
  end
  return sum
end

local windows, refused = {}, nil
for i = 1, count do
  local key = KEYS[2 * i]
  local most_r, most_t = tonumber(ARGV[4 * i]), tonumber(ARGV[4 * i + 1])
  local most_n, mine = tonumber(ARGV[4 * i + 2]), tonumber(ARGV[4 * i + 3])
  local window = advance(key)
  windows[i] = window
  if not refused then
    if enters and most_n >= 0 then
      local running = others(KEYS[2 * i + 1]) + mine - 1
      if running >= most_n then refused = {0, i, 'concurrent', running, -1} end
    end
    if not refused and enters and most_r >= 0 and window[2] >= most_r then
      local after = most_r > 0 and wait(key, window[1], 'r', window[2] + 1 - most_r) or -1
      refused = {0, i, 'requests', window[2], after}
    end
    if not refused and most_t >= 0 and window[3] + tokens > most_t then
      local after = tokens <= most_t and wait(key, window[1], 't', window[3] + tokens - most_t) or -1
      refused = {0, i, 'tokens', window[3], after}
    end
  end
end
local answer = refused or {1, slot, '', 0, 0}
for i = 1, count do
  local key, window = KEYS[2 * i], windows[i]
  if not refused then
    local entering = enters and 1 or 0
    local at = window[1]
    window[2], window[3], window[4] = window[2] + entering, window[3] + tokens, at
    redis.call('HSET', key, 'head', at, 'last', at, 'r', window[2], 't', window[3])
    if enters then redis.call('HINCRBY', key, 'r' .. at, 1) end
    if tokens ~= 0 then redis.call('HINCRBY', key, 't' .. at, tokens) end
    redis.call('PEXPIRE', key, SLOTS * SLOT_MS + 60000)
    if enters and tonumber(ARGV[4 * i + 2]) >= 0 then
      tell(KEYS[2 * i + 1], me, ARGV[4 * i + 3], ARGV[#ARGV])
    end
  end
  answer[#answer + 1] = window[2]
  answer[#answer + 1] = window[3]
  answer[#answer + 1] = (window[2] > 0 or window[3] > 0) and (window[4] + SLOTS) * SLOT_MS - now or 0
end
return answer
"""
)
"""Takes a request, or refuses it. Keys: the gateways, then for each bucket its window and what it runs.
Arguments: the gateway, whether the request enters, its tokens; then for each bucket the limits of requests,
tokens and running requests (-1: none), and how many the gateway itself runs, this one included; then when
that was so. Returns 1 and the slot, or 0, the bucket, the kind, what is used and the wait in ms
(-1: none is known); then of each bucket requests, tokens and ms until it is empty."""

SETTLE = (
    _SHARED
    + """
local number = tonumber(ARGV[1])
if number <= tonumber(redis.call('GET', KEYS[1]) or 0) then return end
redis.call('SET', KEYS[1], number, 'PX', 3600000)
for i = 2, #KEYS do
  local key = KEYS[i]
  local window = advance(key)
  for c = 2, #ARGV, 2 do
    local at, tokens = tonumber(ARGV[c]), tonumber(ARGV[c + 1])
    if tokens > 0 then at = window[1] end
    if at > window[1] - SLOTS then
      local held = tonumber(redis.call('HGET', key, 't' .. at)) or 0
      tokens = math.max(tokens, -held)
      if tokens ~= 0 then
        redis.call('HINCRBY', key, 't' .. at, tokens)
        window[3] = window[3] + tokens
        redis.call('HSET', key, 'head', window[1], 't', window[3], 'last', window[4])
        redis.call('PEXPIRE', key, SLOTS * SLOT_MS + 60000)
      end
    end
  end
end
"""
)
"""Settles a request, once however often it is asked to. Keys: the number of the last that the gateway has
settled, then each bucket's window. Arguments: the number of this one, which is higher, and for each
correction its slot and tokens."""

TELL = (
    _TELL
    + """
for i = 1, #KEYS do tell(KEYS[i], ARGV[1], ARGV[2 + i], ARGV[2]) end
"""
)
"""Tells what a gateway runs. Keys: what each bucket runs. Arguments: the gateway, when, and for each bucket
how many."""
