#!lua flags=allow-oom
-- A process claims its name, or says that it still has it. KEYS: the claim.
-- ARGV: who claims, milliseconds it lasts, whom it may be taken from ('' = nobody).
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] and holder ~= ARGV[3] then return holder end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
