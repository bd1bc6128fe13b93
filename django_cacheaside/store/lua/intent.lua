-- Before COMMIT: the old values go, leases are void, readers bypass until release or the deadline.
--
-- KEYS  per row: entry, lease
-- ARGV  token of the transaction, life of the intent in ms
-- Returns how many rows were marked
--
-- Ends: a reader that hits the old row after COMMIT and before the invalidation, and a writer that dies in between.

local now = now_ms()
for at = 1, #KEYS, 2 do
  add_intent(KEYS[at], ARGV[1], tonumber(ARGV[2]), now)
  redis.call('DEL', KEYS[at + 1])
end
return #KEYS / 2
