#!lua flags=no-writes
-- What other scripts begin with: the items of a journal's entry (router/journal.h, common/record.h), in rising order, as
-- tables of their fields; number is an item's own.
local function items_of(entry)
    local items, fields, number = {}, {}, tonumber(entry[2][1])
    local text, at = entry[2][2], 1
    while at <= #text do
        while string.byte(text, at) ~= 10 do
            local name, length, from = string.match(text, '^ ?(%l+) (%d+):()', at)
            at = from + tonumber(length)
            fields[name] = string.sub(text, from, at - 1)
        end
        local item = {number = number}
        for name, value in pairs(fields) do item[name] = value end
        items[#items + 1] = item
        number, at = number + 1, at + 1
    end
    return items
end

