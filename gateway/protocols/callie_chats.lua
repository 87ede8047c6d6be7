#!lua flags=no-writes
-- KEYS: chats:<user>. Returns his groups, "group:<id>", the newest 500, latest message first.
local groups = {}
for _, chat in ipairs(redis.call('ZREVRANGE', KEYS[1], 0, -1)) do
    if string.sub(chat, 1, 6) == 'group:' and #groups < 500 then groups[#groups + 1] = chat end
end
return groups
