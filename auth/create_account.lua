-- Registers a user, if nobody has the name.
-- KEYS: the account (a hash)   ARGV: encoded password, Unix seconds
if redis.call('HSETNX', KEYS[1], 'password', ARGV[1]) == 0 then
    return 0
end
redis.call('HSET', KEYS[1], 'created', ARGV[2])
return 1
