#!lua flags=allow-oom
-- A router says that it lives, and hears who else does. KEYS: routers (zset, score = Redis ms of the last sign).
-- ARGV: own id, milliseconds without a sign after which a router does not count, '1' to leave.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[3] == '1' then
    redis.call('ZREM', KEYS[1], ARGV[1])
else
    redis.call('ZADD', KEYS[1], now, ARGV[1])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
return redis.call('ZRANGE', KEYS[1], 0, -1)
