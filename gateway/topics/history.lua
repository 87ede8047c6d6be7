#!lua flags=no-writes
-- Where a topic's history is, and a page of it. KEYS: histories state topic. ARGV: topic, offset after which the page
-- begins, entries ('0': none), bytes after which it ends.
-- Answers epoch, newest offset, oldest offset that is kept, entries; epoch '0' when there is no history.
local words = {}
for word in string.gmatch(redis.call('HGET', KEYS[1], ARGV[1]) or '', '%S+') do words[#words + 1] = word end
if not words[2] then return {'0', '0', '1', {}} end
local epoch = math.max(tonumber(words[1]), tonumber(redis.call('HGET', KEYS[2], 'history') or '0'))
local first = redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)[1]
local oldest = first and string.match(first[1], '^%d+') or string.format('%.0f', tonumber(words[2]) + 1)
local page = {}
if ARGV[3] ~= '0' then
    local left = tonumber(ARGV[4])
    for _, entry in ipairs(redis.call('XRANGE', KEYS[3], '(' .. ARGV[2] .. '-0', '+', 'COUNT', ARGV[3])) do
        if left <= 0 then break end
        page[#page + 1] = entry
        for i = 2, #entry[2], 2 do left = left - #entry[2][i] end
    end
end
return {string.format('%.0f', epoch), words[2], oldest, page}
