-- Add what a process has counted to what all have, and what it found to be hot.
--
-- KEYS  counts: a hash of field -> count, and of '#' .. process -> the last sequence number that it has published
--       hot: a sorted set of key -> reads
-- ARGV  process, sequence number, life in ms, most fields, most hot keys, how many fields follow, (field, count)*,
--       (key, reads)*
-- Returns 1, or 0 if it was counted before, or if there is no room for another process.
--
-- Ends: a publication whose reply was lost is sent again, and would count twice. The number is kept first: what fails
-- behind it is not counted, and a count too low harms nobody.

local counts, hot, process, sequence = KEYS[1], KEYS[2], '#' .. ARGV[1], tonumber(ARGV[2])
local life_ms, most_fields, most_hot, fields = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

local last = tonumber(redis.call('HGET', counts, process) or 0) or 0
if last >= sequence then return 0 end
local room = most_fields - redis.call('HLEN', counts)
if last == 0 then
  if room <= 0 then return 0 end
  room = room - 1
end
redis.call('HSET', counts, process, ARGV[2])
redis.call('PEXPIRE', counts, life_ms)

for at = 7, 5 + 2 * fields, 2 do
  if room > 0 or redis.call('HEXISTS', counts, ARGV[at]) == 1 then
    if redis.pcall('HINCRBY', counts, ARGV[at], ARGV[at + 1]) == tonumber(ARGV[at + 1]) then room = room - 1 end
  end
end

if #ARGV > 6 + 2 * fields then
  for at = 7 + 2 * fields, #ARGV, 2 do
    redis.pcall('ZINCRBY', hot, ARGV[at + 1], ARGV[at])
  end
  redis.pcall('ZREMRANGEBYRANK', hot, 0, -most_hot - 1)
  redis.pcall('PEXPIRE', hot, life_ms)
end
return 1
