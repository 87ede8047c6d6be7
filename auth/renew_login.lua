-- Exchanges a refresh token. One that was spent before ends its login: somebody else has it, too.
-- KEYS: the user's logins (begin_login.lua)
-- ARGV: login, hash of the old refresh token, of the new one, token id, its end, now, refresh ttl, most live tokens
-- Returns {1, token id, its end, ...}: those that are to be revoked because there are too many; {0}: there is no
-- such login, or {-1, token id, its end, ...}: ended, with all its live tokens.
local login = redis.call('HGET', KEYS[1], ARGV[1])
if not login then
    return {0}
end
local refresh, tokens, expires = string.match(login, '^refresh=(%x+) tokens=(%S*) expires=(%d+)$')
local now, ttl, most = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
if not refresh or tonumber(expires) <= now then
    redis.call('HDEL', KEYS[1], ARGV[1])
    return {0}
end
local live = {}
for id, ends in string.gmatch(tokens, '(%x+):(%d+)') do
    if tonumber(ends) > now then
        live[#live + 1] = {id, ends}
    end
end
if refresh ~= ARGV[2] then
    redis.call('HDEL', KEYS[1], ARGV[1])
    local answer = {-1}
    for _, token in ipairs(live) do
        answer[#answer + 1] = token[1]
        answer[#answer + 1] = token[2]
    end
    return answer
end
live[#live + 1] = {ARGV[4], ARGV[5]}
local answer = {1}
while #live > most do
    local oldest = table.remove(live, 1)
    answer[#answer + 1] = oldest[1]
    answer[#answer + 1] = oldest[2]
end
for i, token in ipairs(live) do
    live[i] = token[1] .. ':' .. token[2]
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('refresh=%s tokens=%s expires=%d', ARGV[3], table.concat(live, ','),
    now + ttl))
redis.call('EXPIRE', KEYS[1], ttl)
return answer
