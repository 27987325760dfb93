-- One ledger of an upstream's limits: places (leases in a sorted set, by expiry) and a
-- sliding minute of grants (a sorted set, by grant time). Redis' own clock, in ms.
-- KEYS: held, window, epoch, cooldown
-- ARGV: verb, max_concurrent, max_per_minute, lease_ms, then members
local held, window, epoch, cooldown = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local verb = ARGV[1]
local max_concurrent, max_per_minute = tonumber(ARGV[2]), tonumber(ARGV[3])
local lease_ms = tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

if verb == 'seed' then
  -- ARGV: 'seed', _, _, lease_ms, count of held, held…, then ages in ms of recent calls
  if redis.call('EXISTS', epoch) == 1 then return 0 end
  local count = tonumber(ARGV[5])
  for i = 6, 5 + count do redis.call('ZADD', held, now + lease_ms, ARGV[i]) end
  for i = 6 + count, #ARGV do
    redis.call('ZADD', window, now - tonumber(ARGV[i]), 'seed' .. i)
  end
  redis.call('SET', epoch, now)
  return 1
end

if verb == 'renew' then
  -- Also registers anew what a flush forgot: a running call is a fact.
  for i = 5, #ARGV do redis.call('ZADD', held, now + lease_ms, ARGV[i]) end
  return #ARGV - 4
end

if verb == 'release' then
  local gone = 0
  for i = 5, #ARGV do gone = gone + redis.call('ZREM', held, ARGV[i]) end
  return gone
end

if redis.call('EXISTS', epoch) == 0 then return -1 end
local expired = redis.call('ZREMRANGEBYSCORE', held, '-inf', now)
if expired > 0 then redis.call('INCRBY', epoch .. ':expired', expired) end
redis.call('ZREMRANGEBYSCORE', window, '-inf', now - 60000)
local places = max_concurrent - redis.call('ZCARD', held)
local rate = max_per_minute - redis.call('ZCARD', window)
if redis.call('EXISTS', cooldown) == 1 then rate = 0 end

-- acquire
local granted = math.max(0, math.min(places, rate, #ARGV - 4))
for i = 5, 4 + granted do
  redis.call('ZADD', held, now + lease_ms, ARGV[i])
  redis.call('ZADD', window, now, ARGV[i])
end
redis.call('PEXPIRE', window, 120000)
return granted
