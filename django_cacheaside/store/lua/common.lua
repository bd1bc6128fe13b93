-- How the three keys of a row are read. What a script uses of it is put before the script: each definition stands alone
-- between empty lines, and has none inside.
--
--   entry   \202V nonce(8) fresh-until(8, ms) body    a value, valid only under the epoch with this nonce
--           \202N nonce(8) fresh-until(8, ms)         the row is known to be missing
--           \202W (token(12) deadline(8, ms))+        write intents of open commits
--   epoch   \202G nonce(8) run(8)                     or \202W …, as above
--   lease   token(12)
--
-- Bytes of any other shape, and values of another type, count as absent. Time is the server's.

local LONGEST_MS = 7200000 -- a deadline beyond twice the longest INTENT is nobody's

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function get(key)
  local found = redis.pcall('GET', key)
  if type(found) ~= 'table' then return found end
  if string.find(found.err, 'WRONGTYPE', 1, true) then return false end
  error(found.err)
end

-- The intents in `raw` whose deadline has not passed, as {token = deadline}, and the latest of the deadlines; nil if none.
local function live_intents(raw, now)
  if not raw or string.sub(raw, 1, 2) ~= '\202W' or (#raw - 2) % 20 ~= 0 then return nil end
  local live, latest
  for at = 3, #raw, 20 do
    local deadline = struct.unpack('>I8', raw, at + 12)
    if deadline > now and deadline <= now + LONGEST_MS then
      live = live or {}
      live[string.sub(raw, at, at + 11)] = deadline
      if not latest or deadline > latest then latest = deadline end
    end
  end
  return live, latest
end

local function put_intents(key, live, latest, now)
  local parts = {'\202W'}
  for token, deadline in pairs(live) do
    parts[#parts + 1] = token
    parts[#parts + 1] = struct.pack('>I8', deadline)
  end
  redis.call('SET', key, table.concat(parts), 'PX', latest - now)
end

-- Adds an intent to the key, which holds `raw`: of that only live intents stay.
local function add_intent(key, raw, token, intent_ms, now)
  local live, latest = live_intents(raw, now)
  live = live or {}
  live[token] = now + intent_ms
  if not latest or live[token] > latest then latest = live[token] end
  put_intents(key, live, latest, now)
end

-- Takes `token` out of the key, which holds `raw`: of that only live intents of others stay. Returns 1 if the token was
-- there, and whether the key is to be deleted.
local function drop_intent(key, raw, token, now)
  local live = live_intents(raw, now)
  if not live then return 0, true end
  local found = live[token] and 1 or 0
  live[token] = nil
  local latest
  for _, deadline in pairs(live) do
    if not latest or deadline > latest then latest = deadline end
  end
  if latest then put_intents(key, live, latest, now) end
  return found, not latest
end

-- The nonce that entries must carry to be served by the server `run`, or nil.
local function current_nonce(raw, run)
  if not raw or #raw ~= 18 or string.sub(raw, 1, 2) ~= '\202G' or string.sub(raw, 11, 18) ~= run then return nil end
  return string.sub(raw, 3, 10)
end

-- The nonce under which a value was filled, or nil if `raw` is no value.
local function value_nonce(raw)
  if not raw or #raw < 18 then return nil end
  local head = string.sub(raw, 1, 2)
  if head ~= '\202V' and (head ~= '\202N' or #raw ~= 18) then return nil end
  return string.sub(raw, 3, 10)
end
