-- After COMMIT was acknowledged, or surely failed. Acts on whatever it finds: only live intents of others are kept.
--
-- KEYS  per row: entry, lease
-- ARGV  token of the transaction
-- Returns how many rows did not hold the token (an intent was evicted, flushed, or outlived by its COMMIT)
--
-- Ends: a value that was filled while the intent was lost is deleted here, and its filler's lease with it.

local now = now_ms()
local missing = 0
for at = 1, #KEYS, 2 do
  missing = missing + 1 - drop_intent(KEYS[at], ARGV[1], now)
  redis.call('DEL', KEYS[at + 1])
end
return missing
