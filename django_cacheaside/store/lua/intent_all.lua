-- As intent, for a write whose rows are many or unknown: one key stops the whole model.
--
-- KEYS  epoch
-- ARGV  token of the transaction, life of the intent in ms
-- Returns 1
--
-- Ends: the same race as intent, for every row of the model at once. Leases may live on: what they fill carries the old
-- nonce, which no epoch has again.

add_intent(KEYS[1], get(KEYS[1]), ARGV[1], tonumber(ARGV[2]), now_ms())
return 1
