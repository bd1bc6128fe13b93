-- After COMMIT of a write that took the whole model: the epoch goes, and with it every value of the model.
--
-- KEYS  epoch
-- ARGV  token of the transaction
-- Returns 1 if the epoch did not hold the token, else 0
--
-- Ends: values filled while the intent was lost; the next reader draws a new nonce.

local held, is_over = drop_intent(KEYS[1], get(KEYS[1]), ARGV[1], now_ms())
if is_over then redis.call('DEL', KEYS[1]) end
return 1 - held
