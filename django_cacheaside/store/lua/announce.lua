-- Say how this process makes the keys of a database, and hear how others do.
--
-- KEYS  record: a hash of mark -> 'deadline since generation text', both times in ms
-- ARGV  mark, text, how long it counts in ms, a generation to begin with, the one had lately ('' for none)
-- Returns {for how long it has been said in ms, generation ('' while others say otherwise), mark, text, ... of others}
--
-- Ends: values that live on under one set of keys while somebody writes under another. Whoever announces itself takes the
-- generation from all others: when they serve again, what was filled before is not theirs any more.

local RECORD_MS = 86400000 -- a lost record costs the values of its database, never a wrong row
local RENEWAL_MS = 1000

local key, mark, text, life_ms, drawn, had = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local now = now_ms()
local fields = redis.pcall('HGETALL', key)
if fields.err then
  if not string.find(fields.err, 'WRONGTYPE', 1, true) then error(fields.err) end
  redis.call('DEL', key)
  fields = {}
end

local mine = nil
local others = {}
for at = 1, #fields, 2 do
  local deadline, since, generation, said = string.match(fields[at + 1], '^(%d+) (%d+) (%x*) (.*)$')
  deadline, since = tonumber(deadline), tonumber(since)
  if not deadline or deadline > now + LONGEST_MS or since > now then
    redis.call('HDEL', key, fields[at]) -- not ours
  elseif fields[at] == mark then
    mine = {deadline = deadline, since = since, generation = generation, said = said}
  elseif deadline <= now then
    redis.call('HDEL', key, fields[at])
  else
    if generation ~= '' then redis.call('HSET', key, fields[at], deadline .. ' ' .. since .. '  ' .. said) end
    others[#others + 1] = fields[at]
    others[#others + 1] = said
  end
end

local is_alive = mine ~= nil and mine.deadline > now
local since = is_alive and mine.since or now
local generation = ''
if #others == 0 then
  generation = mine and mine.generation or ''
  if generation == '' and #fields == 0 then generation = had end
  if generation == '' then generation = drawn end
end
local is_new = not is_alive or mine.generation ~= generation or mine.said ~= text
if is_new or mine.deadline < now + life_ms - RENEWAL_MS then
  redis.call('HSET', key, mark, string.format('%.0f %.0f ', now + life_ms, since) .. generation .. ' ' .. text)
  redis.call('PEXPIRE', key, RECORD_MS)
end

local reply = {now - since, generation}
for at = 1, #others do reply[#reply + 1] = others[at] end
return reply
