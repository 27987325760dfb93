-- Take one of every counter, or none of any.
-- KEYS: the counters, named as the library `limits` names its fixed windows.
-- ARGV: the window in seconds, then the most that each counter may reach.
-- Returns 1 or 0, then for each counter its count and the milliseconds it has left.
local window_ms = tonumber(ARGV[1]) * 1000
local counts, granted = {}, 1
for place, key in ipairs(KEYS) do
  counts[place] = tonumber(redis.call('get', key) or '0')
  if counts[place] >= tonumber(ARGV[place + 1]) then
    granted = 0
  end
end
local answer = { granted }
for place, key in ipairs(KEYS) do
  if granted == 1 then
    counts[place] = redis.call('incr', key)
  end
  local left = redis.call('pttl', key)
  if left < 0 then
    left = window_ms
    if granted == 1 then
      redis.call('pexpire', key, window_ms)
    end
  end
  answer[#answer + 1] = counts[place]
  answer[#answer + 1] = left
end
return answer
