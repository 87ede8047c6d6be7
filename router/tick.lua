#!lua flags=allow-oom
-- What the owner of a partition says to it when a timer is due: also while Redis is at its maxmemory, for what is due frees memory.
-- KEYS: in. ARGV: frames.
return redis.call('XADD', KEYS[1], '*', 'g', '', 'n', '0', 'f', ARGV[1])
