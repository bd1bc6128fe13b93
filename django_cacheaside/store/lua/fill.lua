-- Store loaded rows, each only under the reader's own lease.
--
-- KEYS  epoch, then per row: entry, lease
-- ARGV  token, life of the epoch in ms if less than half of it is left,
--       then per row: nonce, life in ms, fresh for ms, kind and body ('V' fingerprint(8) payload, or 'N')
-- Returns per row: 1 stored, 0 refused, 2 stored under an epoch that is gone
--
-- Ends: between the reader's SELECT and this fill another process may have committed. Its intent deleted the lease, so
-- the row that was read before that COMMIT is refused. A write to the whole model leaves the lease and takes the epoch:
-- what is stored then is never served, and must not be shared with readers that began after that COMMIT.

local token, epoch_ms = ARGV[1], tonumber(ARGV[2])
local now = now_ms()
local nonce = nil
local raw = get(KEYS[1])
if raw and #raw == 18 and string.sub(raw, 1, 2) == '\202G' then nonce = string.sub(raw, 3, 10) end
local replies, extend = {}, false

for row = 1, (#KEYS - 1) / 2 do
  local entry_key, lease_key = KEYS[2 * row], KEYS[2 * row + 1]
  local filled_under, life_ms, fresh_ms, body = ARGV[4 * row - 1], ARGV[4 * row], ARGV[4 * row + 1], ARGV[4 * row + 2]
  if get(lease_key) ~= token or live_intents(get(entry_key), now) then
    replies[row] = 0
  else
    local head = '\202' .. string.sub(body, 1, 1) .. filled_under .. struct.pack('>I8', now + fresh_ms)
    redis.call('SET', entry_key, head .. string.sub(body, 2), 'PX', life_ms)
    redis.call('DEL', lease_key)
    extend = extend or filled_under == nonce
    replies[row] = filled_under == nonce and 1 or 2
  end
end
-- Half of it is as long as any of these values lives. Not at each fill: who keeps the epoch near is told of each change.
if extend and redis.call('PTTL', KEYS[1]) < epoch_ms / 2 then redis.call('PEXPIRE', KEYS[1], epoch_ms) end
return replies
