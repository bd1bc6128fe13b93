-- The load failed: let the next reader try at once.
--
-- KEYS  per row: lease
-- ARGV  token
-- Returns how many leases were given up
--
-- Ends: waiters that sit out the lease of a reader whose load has failed.

local dropped = 0
for _, key in ipairs(KEYS) do
  if get(key) == ARGV[1] then dropped = dropped + redis.call('DEL', key) end
end
return dropped
