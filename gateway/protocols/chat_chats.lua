#!lua flags=no-writes
-- A user's chats, latest first. KEYS: chats. ARGV: how many at most.
return redis.call('ZREVRANGE', KEYS[1], 0, tonumber(ARGV[1]) - 1)
