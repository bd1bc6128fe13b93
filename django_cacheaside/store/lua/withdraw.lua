-- Take back what a process announced: it makes its keys otherwise from now on.
--
-- KEYS  record
-- ARGV  mark
-- Returns 1 if it stood there, else 0
--
-- Ends: a process that takes its own former settings for somebody else's.

local dropped = redis.pcall('HDEL', KEYS[1], ARGV[1])
if type(dropped) == 'table' then return 0 end
return dropped
