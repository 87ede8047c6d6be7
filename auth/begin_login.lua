-- Remembers a login by its present refresh token and access token. The oldest goes when there are too many.
-- KEYS: the user's logins (a hash: login -> refresh=<hash> tokens=<id>:<end>,... expires=<end>)
-- ARGV: login, hash of the refresh token, token id, its end, now, refresh ttl (Unix seconds, seconds), most
local now, ttl, most = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local all = redis.call('HGETALL', KEYS[1])
local count, oldest, oldest_expires = 0, nil, math.huge
for i = 1, #all, 2 do
    local expires = tonumber(string.match(all[i + 1], ' expires=(%d+)')) or 0
    if expires <= now then
        redis.call('HDEL', KEYS[1], all[i])
    else
        count = count + 1
        if expires < oldest_expires then
            oldest, oldest_expires = all[i], expires
        end
    end
end
if count >= most then
    redis.call('HDEL', KEYS[1], oldest)
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('refresh=%s tokens=%s:%s expires=%d',
    ARGV[2], ARGV[3], ARGV[4], now + ttl))
redis.call('EXPIRE', KEYS[1], ttl)
return 1
