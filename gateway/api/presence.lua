#!lua flags=no-writes
-- A user as others see him. KEYS: user. Returns status, last_seen (ms), metadata.
return redis.call('HMGET', KEYS[1], 'status', 'last_seen', 'metadata')
