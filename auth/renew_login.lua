-- Exchanges a refresh token. One that was spent before ends its login: somebody else has it, too.
-- KEYS: the user's logins (begin_login.lua)
-- ARGV: login, hash of the old refresh token, of the new one, token id, its end, now, refresh ttl
-- Returns {1}, {0}: there is no such login, or {-1, token id, its end}: ended.
local login = redis.call('HGET', KEYS[1], ARGV[1])
if not login then
    return {0}
end
local refresh, token, token_expires, expires =
    string.match(login, '^refresh=(%x+) token=(%x+) token_expires=(%d+) expires=(%d+)$')
if refresh ~= ARGV[2] then
    redis.call('HDEL', KEYS[1], ARGV[1])
    return {-1, token, token_expires}
end
local now, ttl = tonumber(ARGV[6]), tonumber(ARGV[7])
if tonumber(expires) <= now then
    redis.call('HDEL', KEYS[1], ARGV[1])
    return {0}
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('refresh=%s token=%s token_expires=%s expires=%d',
    ARGV[3], ARGV[4], ARGV[5], now + ttl))
redis.call('EXPIRE', KEYS[1], ttl)
return {1}
