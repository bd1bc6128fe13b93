-- Try to become the one reader that may fill each row.
--
-- KEYS  epoch, then per row: entry, lease
-- ARGV  token, random bytes for a new epoch, run id, lease in ms, life of a new epoch in ms,
--       then per row: SHA-1 of an entry that the reader can't use or wants to refresh ('' for none),
--       the lease that it takes over ('' for none)
-- Returns per row: 'O' nonce (own: load, then fill) | 'W' token (another one has the lease) | 'B' (bypass: a commit is
-- open) | 'V' entry (filled meanwhile)
--
-- Ends: a late fill. Who loads without a lease taken before its SELECT could store a row that was replaced meanwhile.

local token, random, run, lease_ms, epoch_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local now = now_ms()
local epoch = get(KEYS[1])
local model_intents = live_intents(epoch, now)
local nonce = current_nonce(epoch, run)
local replies = {}

for row = 1, (#KEYS - 1) / 2 do
  local entry_key, lease_key = KEYS[2 * row], KEYS[2 * row + 1]
  local seen, steal = ARGV[2 * row + 4], ARGV[2 * row + 5]
  local entry = get(entry_key)
  if model_intents or live_intents(entry, now) then
    replies[row] = 'B'
  else
    if not nonce then
      -- Half of it is the server's clock: this script may come twice (batches are sent in parts, and again over a fresh
      -- connection), and if the epoch was dropped in between, a load begun under it must not become valid again.
      local t = redis.call('TIME')
      nonce = string.sub(random, 1, 4) .. struct.pack('>I4', (t[1] * 1000000 + t[2]) % 4294967296)
      redis.call('SET', KEYS[1], '\202G' .. nonce .. run, 'PX', epoch_ms)
    end
    if value_nonce(entry) == nonce and (seen == '' or redis.sha1hex(entry) ~= seen) then
      replies[row] = 'V' .. entry
    else
      local lease = get(lease_key)
      if not lease or #lease ~= #token or lease == token or lease == steal then
        redis.call('SET', lease_key, token, 'PX', lease_ms)
        replies[row] = 'O' .. nonce
      else
        replies[row] = 'W' .. lease
      end
    end
  end
end
return replies
