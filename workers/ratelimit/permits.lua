-- One ledger of an upstream's limits: places (leases in sorted sets, by expiry; one for
-- all and one a narrow pool) and a sliding minute of grants. Redis' own clock, in ms.
-- KEYS: held, window, epoch, cooldown, counts, wanted, then held of each pool
-- ARGV: verb, and one JSON object (its fields are named where they are read)
-- The upstream's minute begins when a call arrives, ours when it is sent: what is on the
-- way (a first TLS handshake, a busy machine) must not make two minutes overlap.
local MINUTE_MS = 61500
local held, window, epoch, cooldown, counts, wanted = unpack(KEYS, 1, 6)
local asked = cjson.decode(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- A permit is {member, pool, pool, …}; a pool is the number of its key after the sixth.
local function hold(permit)
  redis.call('ZADD', held, now + asked.lease_ms, permit[1])
  for i = 2, #permit do
    redis.call('ZADD', KEYS[6 + permit[i]], now + asked.lease_ms, permit[1])
    -- A pool may be a tenant's: it goes when nothing in it is held any more.
    redis.call('PEXPIRE', KEYS[6 + permit[i]], asked.lease_ms)
  end
end

local verbs = {}

function verbs.seed()
  if redis.call('EXISTS', epoch) == 1 then return 0 end
  for _, permit in ipairs(asked.permits) do hold(permit) end
  for i, age_ms in ipairs(asked.ages) do
    redis.call('ZADD', window, now - age_ms, 'seed' .. i)
  end
  redis.call('SET', epoch, now)
  return 1
end

-- A call begins: the minute counts from here, not from when it was granted, as the way
-- through the broker takes its time.
function verbs.begin()
  for _, permit in ipairs(asked.permits) do
    hold(permit)
    redis.call('ZADD', window, now, permit[1])
  end
  return #asked.permits
end

-- Also registers anew what a flush forgot: a running call is a fact.
function verbs.renew()
  for _, permit in ipairs(asked.permits) do hold(permit) end
  return #asked.permits
end

function verbs.release()
  local gone = 0
  for _, permit in ipairs(asked.permits) do
    gone = gone + redis.call('ZREM', held, permit[1])
    for i = 2, #permit do redis.call('ZREM', KEYS[6 + permit[i]], permit[1]) end
  end
  return gone
end

-- Callers who wait at a door while their customer does: the queue leaves them the next
-- places, as many as its share allows. Said again and again; who stops saying it is gone.
function verbs.want()
  for _, permit in ipairs(asked.permits) do
    redis.call('ZADD', wanted, now + asked.want_ms, permit[1])
  end
  redis.call('PEXPIRE', wanted, asked.want_ms)
  return #asked.permits
end

function verbs.cool_down()
  redis.call('SET', cooldown, 1, 'PX', asked.cooldown_ms)
  return 1
end

-- What is free now: {places and rate together, then each pool}.
local function free()
  local expired = redis.call('ZREMRANGEBYSCORE', held, '-inf', now)
  if expired > 0 then redis.call('HINCRBY', counts, 'expired', expired) end
  redis.call('ZREMRANGEBYSCORE', window, '-inf', now - MINUTE_MS)
  local places = asked.max_concurrent - redis.call('ZCARD', held)
  local rate = asked.max_per_minute - redis.call('ZCARD', window)
  if redis.call('EXISTS', cooldown) == 1 then rate = 0 end
  local yielded = 0
  if asked.yields > 0 then
    redis.call('ZREMRANGEBYSCORE', wanted, '-inf', now)
    yielded = math.min(asked.yields, redis.call('ZCARD', wanted))
  end
  local rooms = {math.max(0, math.min(places, rate) - yielded)}
  for i, limit in ipairs(asked.pools) do
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
  for number, permit in ipairs(asked.permits) do
    local fits = rooms[1] > 0
    for i = 2, #permit do fits = fits and rooms[1 + permit[i]] > 0 end
    if fits then
      hold(permit)
      redis.call('ZREM', wanted, permit[1])
      if asked.refused then redis.call('ZREM', wanted, asked.refused) end
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
