#!lua flags=allow-oom
-- One entry into a partition while Redis is at its maxmemory and refuses XADD: the frames that free
-- memory (what was written, closed) must still get in; clients' frames are refused by the gateway.
-- KEYS: the partition's input. ARGV: gateway, number, frames.
redis.call('XADD', KEYS[1], '*', 'g', ARGV[1], 'n', ARGV[2], 'f', ARGV[3])
return 'OK'
