#!lua flags=allow-oom
-- A router says that it lives, and hears how many do, and how many of their ids come before its own. KEYS: routers (zset, score = Redis ms of the last sign).
-- ARGV: own id, milliseconds without a sign after which a router does not count, '1' to leave.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[3] == '1' then
    redis.call('ZREM', KEYS[1], ARGV[1])
else
    redis.call('ZADD', KEYS[1], now, ARGV[1])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
local before = 0
local ids = redis.call('ZRANGE', KEYS[1], 0, -1)
for _, id in ipairs(ids) do
    if id < ARGV[1] then before = before + 1 end
end
return {#ids, before}
