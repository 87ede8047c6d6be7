-- Changes the password of a user who has an account. Returns whether there is one.
-- KEYS: the account (a hash)   ARGV: encoded password
if redis.call('EXISTS', KEYS[1]) == 0 then
    return 0
end
redis.call('HSET', KEYS[1], 'password', ARGV[1])
return 1
