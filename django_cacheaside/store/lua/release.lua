-- After COMMIT was acknowledged, or surely failed. Acts on whatever it finds: only live intents of others are kept.
--
-- KEYS  the entries of all rows, then their leases
-- ARGV  token of the transaction
-- Returns how many rows did not hold the token (an intent was evicted, flushed, or outlived by its COMMIT)
--
-- Ends: a value that was filled while the intent was lost is deleted here, and its filler's lease with it.

local rows = #KEYS / 2
local now = now_ms()
local found = redis.call('MGET', unpack(KEYS, 1, rows))
local gone = {unpack(KEYS, rows + 1)}
local missing = rows
local mine -- what a row holds that holds our live intent alone: rows of one transaction are mostly equal
for row = 1, rows do
  local raw = found[row]
  local held, is_over = 1, true
  if not mine or raw ~= mine then
    held, is_over = drop_intent(KEYS[row], raw, ARGV[1], now)
    if held == 1 and is_over then mine = raw end
  end
  missing = missing - held
  if is_over then gone[#gone + 1] = KEYS[row] end
end
redis.call('DEL', unpack(gone))
return missing
