-- Increment all counters, or none if one has reached its limit.
-- KEYS: the counters, named as the fixed windows of the library `limits`.
-- ARGV: the window in seconds, then the limit of each counter.
-- Returns 1 or 0, then for each counter its count and its remaining milliseconds.
local window_ms = tonumber(ARGV[1]) * 1000
local counts, granted = {}, 1
for index, key in ipairs(KEYS) do
  counts[index] = tonumber(redis.call('get', key) or '0')
  if counts[index] >= tonumber(ARGV[index + 1]) then
    granted = 0
  end
end
local answer = { granted }
for index, key in ipairs(KEYS) do
  if granted == 1 then
    counts[index] = redis.call('incr', key)
  end
  local left = redis.call('pttl', key)
  if left < 0 then
    left = window_ms
    if granted == 1 then
      redis.call('pexpire', key, window_ms)
    end
  end
  answer[#answer + 1] = counts[index]
  answer[#answer + 1] = left
end
return answer
