#!lua flags=allow-oom
-- Hands a partition over: the next owner need not wait for the lease to end. KEYS: lease. ARGV: owner.
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
