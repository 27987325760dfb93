-- A circuit breaker: closed, open until a time, then one trial call at a time.
-- KEYS: state (hash), bad and good (sorted sets of outcomes by time)
-- ARGV: verb ('allow', 'bad', 'good'), a unique name
local state, outcomes = KEYS[1], {bad = KEYS[2], good = KEYS[3]}
local verb = ARGV[1]
local WINDOW_MS, LEAST, SHARE = 30000, 10, 0.5
local FIRST_WAIT_MS, LONGEST_WAIT_MS, TRIAL_MS = 1000, 10000, 3000
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local open_until = tonumber(redis.call('HGET', state, 'open_until') or 0)

if verb == 'allow' then
  -- The number of calls that may start; -1 for no limit.
  if open_until == 0 then return -1 end
  if now < open_until then return 0 end
  local trial = tonumber(redis.call('HGET', state, 'trial_until') or 0)
  if now < trial then return 0 end
  redis.call('HSET', state, 'trial_until', now + TRIAL_MS)
  return 1
end

local function open(wait)
  redis.call('HSET', state, 'open_until', now + wait, 'wait', wait)
  redis.call('HDEL', state, 'trial_until')
  redis.call('PEXPIRE', state, wait + 600000)
  redis.call('DEL', outcomes.bad, outcomes.good)
end

if open_until > 0 then
  if verb == 'good' then
    redis.call('DEL', state)
  elseif now >= open_until then -- a failed trial; older calls are ignored
    open(math.min(LONGEST_WAIT_MS, 2 * tonumber(redis.call('HGET', state, 'wait'))))
  end
  return 0
end

redis.call('ZADD', outcomes[verb], now, ARGV[2])
local count = {}
for kind, key in pairs(outcomes) do
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - WINDOW_MS)
  redis.call('PEXPIRE', key, WINDOW_MS)
  count[kind] = redis.call('ZCARD', key)
end
local all = count.bad + count.good
if verb == 'bad' and all >= LEAST and count.bad >= SHARE * all then
  open(FIRST_WAIT_MS)
end
return 0
