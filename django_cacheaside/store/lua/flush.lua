-- Drop every value of a model in O(1).
--
-- KEYS  epoch
-- Returns 1 if there was an epoch to drop, else 0
--
-- Ends: an intent that stands on the epoch is kept, because its COMMIT is still open; the epoch goes with its release.

if live_intents(get(KEYS[1]), now_ms()) then return 0 end
return redis.call('DEL', KEYS[1])
