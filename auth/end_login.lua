-- Ends a login.
-- KEYS: the user's logins (begin_login.lua)   ARGV: login
-- Returns {0}: there is none, or {1, token id, its end}.
local login = redis.call('HGET', KEYS[1], ARGV[1])
if not login then
    return {0}
end
redis.call('HDEL', KEYS[1], ARGV[1])
return {1, string.match(login, ' token=(%x+) token_expires=(%d+)')}
