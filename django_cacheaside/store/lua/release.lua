-- After COMMIT was acknowledged, or surely failed. Acts on whatever it finds: only live intents of others are kept.
--
-- KEYS  the entries of all rows, then their leases
-- ARGV  token of the transaction
-- Returns how many rows did not hold the token (an intent was evicted, flushed, or outlived by its COMMIT)
--
-- Ends: a value that was filled while the intent was lost is deleted here, and its filler's lease with it.

local rows, now = #KEYS / 2, now_ms()
local found = redis.call('MGET', unpack(KEYS, 1, rows))
local missing, gone = 0, KEYS
local mine -- what a row holds that holds our live intent alone: rows of one transaction are mostly equal
local kept = {}
for row = 1, rows do
  local raw = found[row]
  if not mine or raw ~= mine then
    local held, is_over = drop_intent(KEYS[row], raw, ARGV[1], now)
    if held == 1 and is_over then mine = raw end
    if not is_over then kept[row] = true end
    missing = missing + 1 - held
  end
end
if next(kept) then
  gone = {}
  for at, key in ipairs(KEYS) do
    if not kept[at] then gone[#gone + 1] = key end
  end
end
redis.call('DEL', unpack(gone))
return missing
