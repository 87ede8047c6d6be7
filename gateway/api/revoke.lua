-- Revokes tokens before they expire, as auth does, and ends the logins they are renewed with.
-- KEYS: revoked tokens (zset), auth's events, the user's logins (if a user's tokens are to be revoked)
-- ARGV: token id ("*<second>": all of the user that were issued until then), user, its end
if KEYS[3] then redis.call('DEL', KEYS[3]) end
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1] .. ' ' .. ARGV[2])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 10000, '*', 'kind', 'revoked', 'token_id', ARGV[1],
           'user', ARGV[2], 'expires_at', ARGV[3])
return 1
