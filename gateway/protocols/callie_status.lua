#!lua flags=no-writes
-- KEYS: user:<id>. Returns his status and when he was seen last, in ms.
return redis.call('HMGET', KEYS[1], 'status', 'last_seen')
