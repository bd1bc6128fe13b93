-- Before COMMIT: the old values go, leases are void, readers bypass until release or the deadline.
--
-- KEYS  the entries of all rows, then their leases
-- ARGV  token of the transaction, life of the intent in ms
-- Returns how many rows were marked
--
-- Ends: a reader that hits the old row after COMMIT and before the invalidation, and a writer that dies in between.

local token, rows = ARGV[1], #KEYS / 2
local intent_ms = ARGV[2] -- stays text: as a number it would be formatted anew for each row
local now = now_ms()
local alone = '\202W' .. token .. struct.pack('>I8', now + tonumber(intent_ms))
for row = 1, rows do
  local key = KEYS[row]
  local raw = redis.pcall('SET', key, alone, 'PX', intent_ms, 'GET')
  if raw and raw.err then -- of another type; or the server takes no writes, and says so again
    redis.call('SET', key, alone, 'PX', intent_ms)
  elseif raw and live_intents(raw, now) then
    add_intent(key, raw, token, tonumber(intent_ms), now)
  end
end
redis.call('DEL', unpack(KEYS, rows + 1))
return rows
