-- A ledger of Deepgram's limits: leases (sorted sets by expiry, one in total and one per
-- feature pool) and a sliding window of grants. Uses Redis' clock, in ms.
-- KEYS: held, window, epoch, cooldown, counts, wanted, then held of each pool
-- ARGV: verb, and one JSON object (its fields are named where they are read)
-- Deepgram's minute starts when a call arrives, this window when it is sent. The extra
-- 1.5 s cover the time between (a TLS handshake, a busy machine).
local MINUTE_MS = 61500
local held, window, epoch, cooldown, counts, wanted = unpack(KEYS, 1, 6)
local request = cjson.decode(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- A permit is {member, pool, pool, …}; a pool is the index of its key after the sixth.
local function hold(permit)
  redis.call('ZADD', held, now + request.lease_ms, permit[1])
  for i = 2, #permit do
    redis.call('ZADD', KEYS[6 + permit[i]], now + request.lease_ms, permit[1])
    -- A tenant's pool expires when it has no more permits.
    redis.call('PEXPIRE', KEYS[6 + permit[i]], request.lease_ms)
  end
end

local verbs = {}

function verbs.seed()
  if redis.call('EXISTS', epoch) == 1 then return 0 end
  for _, permit in ipairs(request.permits) do hold(permit) end
  for i, age_ms in ipairs(request.ages) do
    redis.call('ZADD', window, now - age_ms, 'seed' .. i)
  end
  redis.call('SET', epoch, now)
  return 1
end

-- A call starts: the window counts from now, not from the grant, because the broker
-- takes time.
function verbs.begin()
  for _, permit in ipairs(request.permits) do
    hold(permit)
    redis.call('ZADD', window, now, permit[1])
  end
  return #request.permits
end

-- Also registers permits lost in a flush: running calls always count.
function verbs.renew()
  for _, permit in ipairs(request.permits) do hold(permit) end
  return #request.permits
end

function verbs.release()
  local removed = 0
  for _, permit in ipairs(request.permits) do
    removed = removed + redis.call('ZREM', held, permit[1])
    for i = 2, #permit do redis.call('ZREM', KEYS[6 + permit[i]], permit[1]) end
  end
  return removed
end

-- Registers waiting synchronous callers: the queue leaves them the next permits, up to
-- their share. Callers repeat it; an entry expires.
function verbs.want()
  for _, permit in ipairs(request.permits) do
    redis.call('ZADD', wanted, now + request.want_ms, permit[1])
  end
  redis.call('PEXPIRE', wanted, request.want_ms)
  return #request.permits
end

function verbs.cool_down()
  redis.call('SET', cooldown, 1, 'PX', request.cooldown_ms)
  return 1
end

-- The free permits: {minimum of places and rate, then each pool}.
local function free()
  local expired = redis.call('ZREMRANGEBYSCORE', held, '-inf', now)
  if expired > 0 then redis.call('HINCRBY', counts, 'expired', expired) end
  redis.call('ZREMRANGEBYSCORE', window, '-inf', now - MINUTE_MS)
  local places = request.max_concurrent - redis.call('ZCARD', held)
  local rate = request.max_per_minute - redis.call('ZCARD', window)
  if redis.call('EXISTS', cooldown) == 1 then rate = 0 end
  local yielded = 0
  if request.yields > 0 then
    redis.call('ZREMRANGEBYSCORE', wanted, '-inf', now)
    yielded = math.min(request.yields, redis.call('ZCARD', wanted))
  end
  local rooms = {math.max(0, math.min(places, rate) - yielded)}
  for i, limit in ipairs(request.pools) do
    redis.call('ZREMRANGEBYSCORE', KEYS[6 + i], '-inf', now)
    rooms[1 + i] = math.max(0, limit - redis.call('ZCARD', KEYS[6 + i]))
  end
  return rooms
end

function verbs.find_room()
  if redis.call('EXISTS', epoch) == 0 then return {-1} end
  return free()
end

function verbs.acquire()
  if redis.call('EXISTS', epoch) == 0 then return {-1} end
  local rooms, granted = free(), {}
  for number, permit in ipairs(request.permits) do
    local fits = rooms[1] > 0
    for i = 2, #permit do fits = fits and rooms[1 + permit[i]] > 0 end
    if fits then
      hold(permit)
      redis.call('ZREM', wanted, permit[1])
      if request.refused then redis.call('ZREM', wanted, request.refused) end
      redis.call('ZADD', window, now, permit[1])
      rooms[1] = rooms[1] - 1
      for i = 2, #permit do rooms[1 + permit[i]] = rooms[1 + permit[i]] - 1 end
    end
    granted[number] = fits and 1 or 0
    redis.call('HINCRBY', counts, fits and 'granted' or 'refused', 1)
  end
  redis.call('PEXPIRE', window, 120000)
  return granted
end

return verbs[ARGV[1]]()
