-- Before COMMIT: the old values go, leases are void, readers bypass until release or the deadline.
--
-- KEYS  the entries of all rows, then their leases
-- ARGV  token of the transaction, life of the intent in ms
-- Returns how many rows were marked
--
-- Ends: a reader that hits the old row after COMMIT and before the invalidation, and a writer that dies in between.

local token, intent_ms, rows = ARGV[1], tonumber(ARGV[2]), #KEYS / 2
local now = now_ms()
local found = redis.call('MGET', unpack(KEYS, 1, rows))
local alone = '\202W' .. token .. struct.pack('>I8', now + intent_ms)
for row = 1, rows do
  if live_intents(found[row], now) then
    add_intent(KEYS[row], found[row], token, intent_ms, now)
  else
    redis.call('SET', KEYS[row], alone, 'PX', intent_ms)
  end
end
redis.call('DEL', unpack(KEYS, rows + 1))
return rows
